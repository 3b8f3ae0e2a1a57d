"""Items as text: cleaning, item text, a tokenizer learnt from it, and what attributes are worth."""
