"""Labels cells: training, evaluation and use of the ALL/HEM classifier. Depends on `smear` alone."""
