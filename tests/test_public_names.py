"""`import rum_ray as rr`: the names and signatures that others rely on."""

import inspect

import pytest

import rum_ray as rr

SIGNATURES = {
    "memorization": ["included", "correct"],
    "Scores": ["values", "standard_errors", "name"],
    "influence": ["included", "correct_test"],
    "entanglement_score": ["retain", "forget", "center"],
    "mmd": ["retain", "forget", "gamma"],
    "Accuracies": ["forget", "retain", "test"],
    "tow": ["unlearned", "retrained"],
    "tow_mia": ["unlearned", "retrained", "mia_unlearned", "mia_retrained"],
    "svm_attack": ["members", "nonmembers", "targets", "feature"],
    "auc_attack": ["targets", "nonmembers"],
    "LabeledData": ["x", "y", "ids"],
    "UnlearningTask": ["forget", "retain", "original"],
    "Recipe": ["model", "epochs", "lr", "batch_size"],
    "LocalRuntime": ["seed", "device", "threads"],
    "Seed": ["root"],
    "forget_set": ["scores", "size", "pick", "middle"],
    "refine": ["forget", "scores", "into"],
    "unlearn": ["model", "plan", "train", "runtime"],
    "load": ["name"],
    "evaluate": ["model", "bundle", "plan"],
}
TABLES = {
    "UNLEARNERS": "nothing retrain finetune l1_sparse neggrad neggrad+ scrub random_label salun "
    "influence bad_teacher ssd msg ct",
    "PROXIES": "confidence max_confidence entropy binary_accuracy",
    "DATASETS": "digits cifar10 cifar100 svhn tiny_imagenet images",
    "MODELS": "mlp small_cnn patch_cnn fast_cnn resnet9 resnet18 resnet50 vgg16 vit_tiny swin_t",
    "REFINERS": "by_score shuffle",
    "ATTACKS": "svm auc threshold pool_lira pool_rmia u_lira ruli iam forgetting_quality",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_their_names_and_order(name):
    arguments = list(inspect.signature(getattr(rr, name)).parameters)
    assert arguments[: len(SIGNATURES[name])] == SIGNATURES[name]


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_what_was_promised(name):
    assert set(TABLES[name].split()) <= getattr(rr, name).keys()


def test_every_public_name_is_there():
    assert rr.__all__ == sorted(rr.__all__)
    for name in rr.__all__:
        assert getattr(rr, name) is not None
    assert dir(rr) == rr.__all__
    assert {*SIGNATURES, *TABLES} <= {*rr.__all__}


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'rum_ray' has no attribute 'forget'"):
        _ = rr.forget


def test_the_tour_of_the_architecture():
    data = rr.load("digits")
    recipe = rr.Recipe(model="mlp", epochs=2)
    runtime = rr.LocalRuntime(rr.Seed(0), device="cpu", threads=1)
    original = recipe.fit(data.train, runtime / "original")
    scores = rr.PROXIES["confidence"]()(data, recipe, runtime / "proxy")
    forget = rr.forget_set(scores, size=60, pick="spread")
    partition = rr.refine(forget, scores, into=("low", "medium", "high"))
    assignment = {"low": rr.Nothing(), "medium": rr.FineTune(epochs=1), "high": rr.SalUn(epochs=1)}
    plan = rr.Plan.assign(partition, assignment)
    unlearned = rr.unlearn(original, plan, data.train, runtime / "rum")
    retrained = recipe.fit(data.train.without(forget), runtime / "retrained")
    metrics = rr.evaluate(unlearned, data, plan).against(rr.evaluate(retrained, data, plan))
    assert 0 < metrics["tow"] <= 1
    assert {"forget_accuracy_low", "forget_accuracy_medium", "mia_gap"} <= metrics.keys()
    assert (data.name, data.num_classes) == ("digits", 10)
