"""Value types that cross folders, and the glossary of shapes. No heavy import: numpy and torch appear in annotations only.

Shapes, used in every docstring:

    T  trials (lanes) of a pack       B  rows of a batch            N  rows of a table
    U  1 or T: an axis that is 1 where all lanes share a value, and T where they do not
    F  feature fields                 D  embedding width            V  ids of a vocabulary (0 is padding and unknown)
    n  extra feature fields (prompt)  R  meta-prompts               H  hidden width
    L  length of a multi-valued field or of a sequence              P  prompt tokens of a prefix
    W  numbers of a vector field      E  events (who took an item)          I  a unit's own items

Every tensor inside a model has a leading axis U. Where nothing differs between the lanes it is 1, the value is computed once, and
it broadcasts against the T lanes where they meet.
"""
