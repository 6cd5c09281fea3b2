"""Sentences on what chose the winner of a sweep, and on its scores on frames that did not."""

import math

from dlcexp.results.factors import SPLIT_KEYS
from dlcexp.results.optimism import Optimism, optimisms
from dlcexp.results.pooled_errors import OutOfFold, out_of_fold
from dlcexp.results.read_sweep import Recipe, Sweep
from dlcexp.results.recipe_text import label, mean_and_spread
from dlcexp.results.statistics import Estimate
from dlcexp.runs.metric_names import part_of
from dlcexp.text import listed, number

_TEST = "test"


def choice_notes(sweep: Sweep) -> list[str]:
    """Return what the choice is worth: how it was made, what is biased, and the optimism."""
    return [*how_chosen(sweep), *map(_scores, optimisms(sweep)), *chosen_in_folds(sweep)]


def how_chosen(sweep: Sweep) -> list[str]:
    """Return how recipes are ranked if not by their mean, and if the winner's score is too good."""
    return [*_ranking(sweep), *_biased(sweep)]


def chosen_in_folds(sweep: Sweep) -> list[str]:
    """Return the recipes that nested cross-validation has chosen."""
    found = optimisms(sweep)
    if not found or found[0].folds == 1 or found[0].recipes == 1:
        return []
    return [f"Chosen in the folds: {_winners(found[0], sweep)}."]


def out_of_fold_note(sweep: Sweep) -> list[str]:
    """Return the error of the best recipe on all frames, where its folds are completed."""
    error = expected_error(sweep.best) if sweep.best else None
    return [f"Out of fold: {error}."] if error else []


def estimate(value: Estimate) -> str:
    """Return `3.61 (3.20 to 4.10)`; the value alone where its limits are unknown."""
    if math.isnan(value.low):
        return number(value.value)
    return f"{number(value.value)} ({number(value.low)} to {number(value.high)})"


def out_of_fold_error(errors: OutOfFold) -> str:
    """Return `3.61 (3.20 to 4.10)` of the errors of a recipe, px."""
    limits = errors.interval
    low, high = (limits.low, limits.high) if limits else (math.nan, math.nan)
    return estimate(Estimate(errors.error, low, high))


def expected_error(recipe: Recipe) -> str | None:
    """Return the error of a recipe on frames that did not train it, as text; None if unknown."""
    errors = out_of_fold(recipe)
    if errors is None:
        return None
    limits = errors.interval
    sure = f", with 95 % confidence by {limits.unit}" if limits else ""
    found = "" if errors.found > 99.95 else f"; {errors.found:.1f} % of the labels were found"
    return (
        f"{out_of_fold_error(errors)} px{sure}, over {errors.frames} frames, each by a run that "
        f"did not train on it{found}{_mark(errors.chosen_by)}"
    )


def tested(sweep: Sweep, recipe: Recipe) -> str:
    """Return the mean scores of a recipe on test frames, as text, with a mark where they chose."""
    metric = sweep.objective.metric
    outer = f"{_TEST}{metric.removeprefix(part_of(metric))}"
    pixels = f"{outer.partition('.')[0]}.rmse"
    names = [name for name in dict.fromkeys((outer, pixels)) if recipe.scores(name)]
    scores = ", ".join(f"{name} {mean_and_spread(recipe, name)}" for name in names)
    biased = outer == metric and len(sweep.recipes) > 1
    mark = _mark(frozenset(job.chosen_by for job in recipe.completed))
    if biased and not mark:
        mark = "; the recipe was chosen on these frames, so that it is optimistic"
    return f"{scores or 'unknown'} on test frames{mark}"


def which_chose_nothing(sweep: Sweep) -> str:
    """Return that test frames have chosen nothing, as the end of a sentence, if so.

    Over folds, a test frame of one is a validation frame of another.
    """
    over_folds = any(factor.key in SPLIT_KEYS for factor in sweep.factors)
    return "" if over_folds else ", which chose nothing"


def _winners(each: Optimism, sweep: Sweep) -> str:
    """Return the recipes that were chosen in the folds, and how often."""
    texts = [label(sweep.recipe_factors, winner.values) for winner in each.winners]
    counted = [f"{text} ({texts.count(text)})" for text in dict.fromkeys(texts)]
    return listed(counted)


def _mark(chosen_by: frozenset[str | None]) -> str:
    """Return the mark of numbers whose snapshots were chosen by the same frames."""
    biased = any(metric and part_of(metric) == _TEST for metric in chosen_by)
    return "; the snapshots were chosen on these frames, so that it is optimistic" if biased else ""


def _ranking(sweep: Sweep) -> list[str]:
    """Return how recipes are ranked that were not run on the same folds."""
    if sweep.on_same_frames:
        return []
    return [
        "Not all recipes have a result in the same folds: they are ranked by their mean difference "
        f"from all jobs of a fold, not by their mean {sweep.objective.metric}."
    ]


def _biased(sweep: Sweep) -> list[str]:
    """Return that the first score is too good, where test frames have chosen."""
    metric = sweep.objective.metric
    ranked = [recipe for recipe in sweep.recipes if recipe.scores(metric)]
    if part_of(metric) != _TEST or not ranked:
        return []
    chosen = ["the best recipe was"] if len(ranked) > 1 else []
    if _mark(frozenset(job.chosen_by for recipe in ranked for job in recipe.completed)):
        chosen.append("the snapshots were")
    if not chosen:
        return []
    return [
        f"{metric} of the winner is optimistic: {' and '.join(chosen)} chosen on these frames. "
        "With split.val_fraction=0.2, validation frames choose."
    ]


def _scores(found: Optimism) -> str:
    """Return a sentence with the inner and the outer score, and what lies between them."""
    inner = f"{found.inner_metric} {number(found.inner.value)}"
    outer = f"{found.outer_metric} {estimate(found.outer)}"
    if found.folds > 1:
        which = f"the best of {found.recipes}" if found.recipes > 1 else "the recipe"
        text = (
            f"Nested over {found.folds} folds: {which} in each fold has {inner}, and {outer} on "
            "the test frames of that fold"
        )
    else:
        text = f"Winner: {inner} on the frames that chose it, {outer} on those that chose nothing"
    text += f"; optimism {estimate(found.difference)}."
    if found.recipes > 1:
        text += (
            f" Gain over the mean of all recipes: {number(found.inner_gain.value)} where they "
            f"chose, {estimate(found.outer_gain)} where they did not"
        )
        if not math.isnan(found.recipe_gain.value):
            text += (
                f"; {estimate(found.recipe_gain)} for a recipe that the other folds chose, which "
                "is without the luck of the training that was chosen"
            )
        text += "."
    return text
