"""The floor that the ensemble must beat: TF-IDF of words and character n-grams with logistic regression, per category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from interlock_lab.training.metrics import Floats, labelled
from interlock_lab.training.rows import Row


def floor_scores(fit_rows: Sequence[Row], rows: Sequence[Row], category: str) -> Floats:
    """P(harm) of `rows` by a model of the completions of `fit_rows` whose label in the category is known."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    known, harmful = labelled(fit_rows, category)
    texts = [row.completion for row, use in zip(fit_rows, known, strict=True) if use]
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True),
    )
    model: Any = make_pipeline(features, LogisticRegression(C=4.0, max_iter=400, class_weight="balanced"))
    model.fit(texts, harmful[known])
    return np.asarray(model.predict_proba([row.completion for row in rows])[:, 1])
