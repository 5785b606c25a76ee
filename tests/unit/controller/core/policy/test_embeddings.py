"""One logical embedding model is one model, in whichever pool."""

import pytest
from msgspec.structs import replace

from controller.core.policy.check import faults
from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from tests.places import EXAMPLE_POLICY
from tieline.table import ModelOffer


def offering(model: str, *names: str, features: tuple[str, ...] = (), **more: object) -> Policy:
    """The example, whose first pools also offer ``model`` under these names."""
    policy = load_policy(EXAMPLE_POLICY)
    pools = list(policy.pools)
    for number, name in enumerate(names):
        offers = (*pools[number].models, ModelOffer(model, name, features=features))
        pools[number] = replace(pools[number], models=offers)
    return replace(policy, pools=tuple(pools), **more)


def test_two_embedding_models_under_one_name_are_a_mistake() -> None:
    """The error names the place, both models and both remedies."""
    (fault,) = faults(offering("vectors", "text-embedding-3-large", "gemini-001", "text-embedding-3-large"))
    assert fault.path == ("pools", 1, "models", 1, "name")
    assert "pools[0] offers it as text-embedding-3-large, this pool as gemini-001" in fault.text
    assert "same_model: {vectors: [text-embedding-3-large, gemini-001]}" in fault.text


@pytest.mark.parametrize(
    ("model", "features"), [("embed-large", ()), ("vectors", ("embeddings",)), ("My-Embedder", ())]
)
def test_an_embedding_model_is_known_by_its_names_or_features(model: str, features: tuple[str, ...]) -> None:
    """Either is enough."""
    assert len(faults(offering(model, "bge-m3", "e5-large", features=features))) == 1


def test_names_that_are_stated_to_be_one_model_may_differ() -> None:
    """A deployment on Azure has a name of its own. What is not stated stays a mistake."""
    stated = {"embed": ("text-embedding-3-large", "prod-1")}
    assert faults(offering("embed", "text-embedding-3-large", "prod-1", same_model=stated)) == []
    (fault,) = faults(offering("embed", "text-embedding-3-large", "prod-1", "prod-2", same_model=stated))
    assert fault.path[1] == 2
    assert len(faults(offering("embed", "prod-3", "prod-1", same_model=stated))) == 1


def test_other_models_may_have_a_different_one_in_each_pool() -> None:
    """A chat model may stand for another one, as in the example."""
    assert faults(offering("chat-small", "gpt-4o-mini", "gemini-flash")) == []


def test_a_statement_about_an_unknown_model_is_a_mistake() -> None:
    """It may be a slip of the pen."""
    (fault,) = faults(offering("embed", "a", same_model={"embedd": ("a", "b")}))
    assert (fault.path, fault.text) == (("same_model", "embedd"), "unknown model embedd; did you mean embed?")
