"""What methods are made of: losses and label transforms, each one file with its settings.

Owns what each of them computes, beside the settings that a sweep file gives it, so that one more
is one file and one line. Losses compute with the tensors' own methods and import no torch;
transforms import NumPy and scikit-learn when they are applied. It knows no models, no training and
no sweeps, and ground truth only as what a simulated supervisor is told.
"""
