"""Items as text: cleaning, item text, the prompt of a sequence, masked samples, and what attributes are worth."""
