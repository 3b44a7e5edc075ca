"""Real or bogus: how likely a candidate is a change on the sky, from its measures and from its stamps."""

from zsds_tasks.science.realbogus.config import ModelConfig, RealBogusConfig, load_realbogus_config
from zsds_tasks.science.realbogus.features import FEATURES, feature_matrix
from zsds_tasks.science.realbogus.models import Model, ModelCard, Models, load_model, load_models
from zsds_tasks.science.realbogus.score import score_candidates
from zsds_tasks.science.realbogus.triplets import SIZE, normalise_triplets

__all__ = [
    "FEATURES",
    "SIZE",
    "Model",
    "ModelCard",
    "ModelConfig",
    "Models",
    "RealBogusConfig",
    "feature_matrix",
    "load_model",
    "load_models",
    "load_realbogus_config",
    "normalise_triplets",
    "score_candidates",
]
