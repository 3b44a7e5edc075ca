"""``zsds train`` and ``zsds models``: make real-bogus models, show those that are there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zsds_tasks.cli.console import live_line, say, show_facts, show_rows


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(train)
    app.command()(models)


def train(
    sets: Annotated[Path, typer.Option(help="Folder of labelled sets; made there if missing.")],
    rb: Annotated[
        str, typer.Option(help="Version of the feature model, e.g. zsds_t2_f1_c1; empty: none.")
    ] = "",
    drb: Annotated[str, typer.Option(help="Version of the image model, e.g. zsds_d2_m1; empty: none.")] = "",
    date: Annotated[str, typer.Option(help="Goes into the cards; YYYY-MM-DD.")] = "",
    folder: Annotated[
        Path | None, typer.Option(help="Of all models; default include/models/realbogus.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no epoch of the network after this.")] = 60.0,
    only_sets: Annotated[bool, typer.Option(help="Make the labelled sets and stop.")] = False,
) -> None:
    """Simulate labelled candidates, train on them, prove the exports, write models with their cards."""
    from zsds_tasks.science.realbogus import RealBogusConfig
    from zsds_tasks.settings import load_settings
    from zsds_tasks.training import run
    from zsds_tasks.training.configuration import load_training_config
    from zsds_tasks.training.sets import labelled_set

    include = load_settings().include
    config = load_training_config(include)
    made = [labelled_set(sky, config.sets, include, sets, say) for sky in config.sets.skies]
    if only_sets:
        return
    place = folder or include / RealBogusConfig().folder
    parts = run.split_sets(made, config)
    words = {str(sets): "SETS", str(folder): "FOLDER"}  # cards name no place of this machine
    command = " ".join(["zsds", *(words.get(word, word) for word in sys.argv[1:])])
    with live_line() as tell:
        for version, function in ((rb, run.train_features), (drb, run.train_images)):
            if not version:
                continue
            names = run.Names(version, date, command)
            limit = {"seconds": minutes * 60} if function is run.train_images else {}
            done = function(parts, config, place, names, tell, **limit)
            test = done.card.metrics["test"]
            show_facts(
                f"{version}: threshold {test['threshold']}, {test['false_positive_rate']:.0%} bogus pass",
                {kind: f"{entry['share']:.1%} of {entry['n']}" for kind, entry in test["recall"].items()}
                | {"area under the curve": test["auc"], "ONNX differs by": f"{done.difference:.1e}"},
            )


def models() -> None:
    """List the real-bogus models that are there, and which are in use."""
    from zsds_tasks.science.realbogus import load_models, load_realbogus_config
    from zsds_tasks.science.realbogus.models import CARD, read_card
    from zsds_tasks.settings import load_settings

    include = load_settings().include
    config = load_realbogus_config(include)
    used = {one.version for one in (config.features, config.images) if one}
    rows = []
    for path in sorted((include / config.folder).glob(f"*/{CARD}")):
        card = read_card(path.parent)
        rows.append(
            (card.version, card.kind, card.date, card.threshold, card.sha256[:12],
             "in use" if card.version in used else "")
        )  # fmt: skip
    show_rows("real-bogus models", ("version", "sees", "trained", "threshold", "sha256", ""), rows)
    load_models(include, config)  # says so if one of those in use cannot be
