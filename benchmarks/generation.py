"""How fast lists are generated, and how wide a beam has to be.

    python benchmarks/generation.py beams
    python benchmarks/generation.py hugging-face [--size paper] [--beams 30]
    python benchmarks/generation.py exactness    [--sequences FILE]

*beams*: users/s from histories to lists of ten unseen items: beam search of several widths, and the walk through the
whole prefix tree that scores every item, with the head ``prefix``; the scores of every item that the head ``tree``
computes in one product; and SASRec of the same sizes, which scores every item by a dot product. Weights and identifiers
(of four codes) are random, which does not change the work. No list is searched twice.

*hugging-face*: users/s and memory of TIGER's beams beside ``generate`` of Hugging Face transformers with the same
weights and as many beams: with ``prefix_allowed_tokens_fn``, and without it, so that what it returns need not be an
item. Memory is by how much the peak of the process grows. That both give the same lists is a test in
``tests/unit/test_models_tiger.py``, whose copy of the weights is used here.

*exactness*: a model with the head ``prefix``, trained on a sequence file or on made-up sequences. For each width: the
share of lists that are certified to be exact, the share that are exact, nDCG@10 minus that of the exact lists, and
users/s. Seconds of the processor and memory are those of the whole process, training included.

Processes, cores, repeats, files and tables are as ``benchmarks/training.py`` says. Sizes are small by default.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import (
    Bench,
    Measurement,
    Ratio,
    common_options,
    median_of,
    read_sequences,
    report,
    run_step,
    training_set_of,
)

K = 10
USERS_A_SECOND, MEMORY = "users/s", "memory of the lists, MB"
WALK, PRODUCT, DENSE = "every item, head prefix", "every item, head tree", "every item, SASRec"
OURS, THEIRS, UNCONSTRAINED = "TIGER", "generate, constrained", "generate, unconstrained"
LEVELS = 4
TIGER_SIZES = {
    "small": {"dimensions": 64, "heads": 4, "head_dimensions": 16, "feed_forward_dimensions": 256, "blocks": 2},
    "paper": {"dimensions": 128, "heads": 6, "head_dimensions": 64, "feed_forward_dimensions": 1024, "blocks": 4},
}
TRUNK = {
    "dimensions": 64,
    "blocks": 2,
    "heads": 2,
    "feed_forward_dimensions": 128,
    "dropout": 0.3,
    "max_length": 50,
    "block": "pre_norm",
    "embedding_deviation": 0.05,
}


# ---- steps: each runs in a process of its own


def list_users(how: str, width: int, items: int, users: int, seed: int, threads: int) -> dict:
    """Users/s of one way, from histories to lists."""
    import numpy as np
    import torch

    from ml.models.build import build_model
    from ml.models.settings import MODEL_SETTINGS
    from ml.tasks.build import build_task
    from ml.tasks.settings import NextItemSettings
    from ml.training.generating import generate

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    codes = random_identifiers(items, seed)
    if how == DENSE:
        table = {**TRUNK, "item_embedding": "dense", "separate_output_embedding": False}
        model = build_model(MODEL_SETTINGS["sasrec"](**table), items, users, None)
    else:
        head = "tree" if how == PRODUCT else "prefix"
        table = {**TRUNK, "reads": "codes_and_items", "head": head, "beam_width": width}
        sizes = book_sizes_of(codes)
        model = build_model(MODEL_SETTINGS["item_codes"](**table), items, users, codes, sizes)
    model.eval()
    task, histories = build_task(NextItemSettings(), items), random_histories(users, items, seed)
    counts = np.ones(items, dtype=np.int64)

    def answer(some) -> None:
        if width:
            generate(model, task, some, K, True, counts, width, width)
        else:
            lists_by_all_scores(model, task, some)

    answer(histories.take(np.arange(min(32, users))))
    return {USERS_A_SECOND: users / seconds_of(lambda: answer(histories))}


def lists_by_all_scores(model, task, histories):
    """The ten best unseen items of each history, none of them empty, by the scores of all items."""
    import numpy as np
    import torch

    from ml.recommender import Recommendations
    from ml.retrieval.top_k import exclude_seen, tie_break_order, top_k
    from ml.training.scoring import scored_chunks

    order, found = tie_break_order(model.items), np.empty((len(histories), K), dtype=np.int32)
    listed = Recommendations(found, np.empty_like(found, dtype=np.float32))
    for rows, scores in scored_chunks(model, task, histories, torch.ones(model.items)):
        scores = scores.numpy()
        exclude_seen(scores, histories.take(rows))
        best = top_k(scores, K, order)
        listed.items[rows], listed.scores[rows] = best.items, best.scores
    return listed


def random_identifiers(items: int, seed: int):
    """Unique identifiers of four codes: uint8 ``[items, 4]``, few of them in some places and many in others."""
    import numpy as np

    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.full(256, 0.5), size=3)
    drawn = np.stack([generator.choice(256, 2 * items, p=each) for each in weights], axis=1)
    # the last code tells apart the items that share the first three
    _, group = np.unique(drawn, axis=0, return_inverse=True)
    by_group = np.argsort(group, kind="stable")
    ordered = group[by_group]
    digit = np.empty_like(group)
    digit[by_group] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    codes = np.column_stack([drawn, digit])[digit < 256][:items]
    return codes.astype(np.uint8)


def book_sizes_of(codes) -> tuple[int, ...]:
    return tuple(int(largest) + 1 for largest in codes.max(axis=0))


def random_histories(users: int, items: int, seed: int):
    """Histories with the lengths of sparse data: 3 items and more, 8 in the mean."""
    import numpy as np

    from ml.data.sequences import Sequences

    generator = np.random.default_rng(seed)
    lengths = np.minimum(2 + generator.geometric(1 / 6, users), 50)
    return Sequences.from_lists([generator.integers(items, size=length) for length in lengths])


def generate_tokens(how: str, size: str, beams: int, items: int, users: int, length: int, seed: int, threads: int):
    """Users/s and memory of TIGER's lists, or of Hugging Face's ``generate`` of its weights; all users in one batch."""
    import torch

    from ml.generation.beam_search import TrieTensors, beam_search
    from ml.models.build import build_model
    from ml.models.settings import TIGERSettings

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    codes = random_identifiers(items, seed)
    sizes = dict(TIGER_SIZES[size])
    blocks = sizes.pop("blocks")
    settings = TIGERSettings(
        **sizes,
        encoder_blocks=blocks,
        decoder_blocks=blocks,
        feed_forward="relu",
        dropout=0.1,
        max_length=length,
        reads="codes",
        user_tokens=0,
        tied_heads=False,
        beam_width=beams,
        embedding_deviation=1.0,
    )
    model = build_model(settings, items, users, codes, book_sizes_of(codes)).eval()
    histories = torch.randint(items, (users, length))
    lengths = torch.full((users,), length)
    inputs = histories, lengths, torch.full((users,), -1), torch.arange(users) * length + length - 1
    if how == OURS:
        trie = TrieTensors.of(model.trie)

        def answer(rows: int) -> None:
            places = (each[:rows] for each in inputs)
            beam_search(model.prefix_scorer(*places), trie, beams)
    else:
        answer = hugging_face(model, settings, histories, beams, constrained=how == THEIRS)

    with torch.inference_mode():
        answer(2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = seconds_of(lambda: answer(users))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {USERS_A_SECOND: users / seconds, MEMORY: grown * 1024 / 1e6}


def hugging_face(model, settings, histories, beams: int, constrained: bool) -> Callable[[int], None]:
    """``generate`` for the first users, with the weights of a model of these settings."""
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "unit"))
    from t5_weights import copied
    from transformers.models.t5.configuration_t5 import T5Config
    from transformers.models.t5.modeling_t5 import T5ForConditionalGeneration

    with torch.no_grad():
        vocabulary = torch.cat([model.tokens, model.beginning[None]])
        beginning = len(model.tokens)
        theirs = T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(vocabulary),
                d_model=vocabulary.shape[1],
                d_kv=settings.head_dimensions,
                num_heads=settings.heads,
                d_ff=settings.feed_forward_dimensions,
                num_layers=settings.encoder_blocks,
                num_decoder_layers=settings.decoder_blocks,
                feed_forward_proj="relu",
                tie_word_embeddings=False,
                decoder_start_token_id=beginning,
                pad_token_id=beginning,
                eos_token_id=None,
            )
        )
        copied(model.t5, theirs)
        for table in (theirs.shared, theirs.encoder.embed_tokens, theirs.decoder.embed_tokens):
            table.weight.copy_(vocabulary)
        # theirs are tied to the vectors that are read
        theirs.lm_head.weight = torch.nn.Parameter(torch.nn.functional.pad(model.heads, (0, 0, 0, 1)))
    identifiers = model._tokens_of(model.codes.long())
    followers: dict[tuple[int, ...], list[int]] = {}
    for level in range(LEVELS):
        for row in identifiers[:, : level + 1].unique(dim=0).tolist():
            followers.setdefault(tuple(row[:-1]), []).append(row[-1])
    allowed = {"prefix_allowed_tokens_fn": lambda _, ids: followers[tuple(ids[1:].tolist())]} if constrained else {}
    tokens = identifiers[histories].flatten(1)

    def answer(rows: int) -> None:
        theirs.generate(
            input_ids=tokens[:rows],
            attention_mask=torch.ones_like(tokens[:rows]),
            num_beams=beams,
            num_return_sequences=beams,
            min_new_tokens=LEVELS,
            max_new_tokens=LEVELS,
            do_sample=False,
            length_penalty=0.0,
            **allowed,
        )

    return answer


def train_and_widen(
    sequences: str, users: int, items: int, epochs: int, lists: int, widths: list[int], seed: int, threads: int
) -> dict:
    """For each width what ``exactness`` shows of it, under the width."""
    import numpy as np

    from ml.codes.codes import Codes, code_type
    from ml.codes.svd import assign_svd_codes
    from ml.training.generating import generate
    from ml.training.recipe import recipe_from_tables
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    rows = read_sequences(sequences) if sequences else wandering_sequences(users, items, seed)
    training_set = training_set_of(rows)
    counts = np.bincount(training_set.train.items, minlength=training_set.items)
    values = with_a_digit(assign_svd_codes(training_set, books=LEVELS - 1).values, counts)
    sizes = list(book_sizes_of(values))
    tables = {
        "title": "head prefix",
        "source": "this benchmark",
        "notes": "",
        "set": "generative",
        "codes": "svd",
        "model": {
            "architecture": "item_codes",
            **TRUNK,
            "reads": "codes_and_items",
            "head": "prefix",
            "beam_width": 50,
        },
        "task": {"name": "next_item"},
        "objective": {"name": "code_cross_entropy"},
        "optimiser": {"learning_rate": 2e-3, "betas": [0.9, 0.98], "weight_decay": 0.0, "warm_up_steps": 0},
        "training": {"batch_size": 128, "max_epochs": epochs, "patience": epochs},
    }
    codes = Codes(values.astype(code_type(sizes)), {"name": "svd", "book_sizes": sizes})
    recommender = SequentialRecommender(
        recipe_from_tables("prefix", tables, "benchmark"), seed, codes, execution=Execution(threads=threads)
    ).fit(training_set)

    chosen = np.random.default_rng(seed).permutation(len(training_set.test_users))[:lists]
    histories = training_set.histories("test").take(chosen)
    targets = np.asarray(training_set.test_targets)[chosen]

    def lists_of(width: int):
        return generate(recommender.model, recommender._task, histories, K, True, counts, width, width)

    def ndcg(found) -> float:
        hits = found.items == targets[:, None]
        return float((hits / np.log2(2 + np.arange(K))).sum(axis=1).mean())

    exact = lists_by_all_scores(recommender.model, recommender._task, histories)
    measured = {}
    for width in widths:
        began = time.perf_counter()
        found, how = lists_of(width)
        seconds = time.perf_counter() - began
        measured[str(width)] = {
            "certified": how.certified / how.lists,
            "exact": float((found.items == exact.items).all(axis=1).mean()),
            "nDCG@10 less exact": ndcg(found) - ndcg(exact),
            USERS_A_SECOND: len(histories) / seconds,
        }
    return {"widths": measured, "nDCG@10 of the exact lists": ndcg(exact)}


def with_a_digit(values, counts):
    """Codes with one more, by falling popularity, that tells apart the items that share the others."""
    import numpy as np

    _, group = np.unique(values, axis=0, return_inverse=True)
    order = np.lexsort((-counts, group))
    ordered = group[order]
    digit = np.empty_like(group)
    digit[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return np.column_stack([values.astype(np.int64), digit])


def wandering_sequences(users: int, items: int, seed: int) -> list[list[int]]:
    """Sequences that mostly stay in a group of 10 items, else in one of 100, else go anywhere."""
    import numpy as np

    generator = np.random.default_rng(seed)
    rows = []
    for length in 4 + generator.geometric(1 / 6, users):
        row = [int(generator.integers(items))]
        for reach in generator.choice([10, 100, items], size=length, p=[0.6, 0.25, 0.15]):
            start = row[-1] // reach * reach
            row.append(int(generator.integers(start, min(start + reach, items))))
        rows.append(row)
    return rows


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


STEPS: dict[str, Callable[..., dict]] = {step.__name__: step for step in (list_users, generate_tokens, train_and_widen)}


# ---- commands


def beams(arguments: argparse.Namespace) -> None:
    """All ways, taking turns."""
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    names = {f"beam {width}, head prefix": width for width in arguments.widths} | dict.fromkeys(
        (WALK, PRODUCT, DENSE), 0
    )
    runs = []
    for seed in range(arguments.repeats):
        for name, width in names.items():
            # the walk takes so much longer that some users must do
            users = min(arguments.users, arguments.users_of_walk) if name == WALK else arguments.users
            sizes = {"items": arguments.items, "users": users, "seed": seed, "threads": arguments.cores}
            runs.append(bench.measure(name, "list_users", how=name, width=width, **sizes))
    for other in (DENSE, WALK):
        speed = median_of(runs, other, USERS_A_SECOND)
        for run in runs:
            run.figures[f"times {other}"] = run.figures[USERS_A_SECOND] / speed
    title = f"Lists of {K} of {arguments.items:,} items, {arguments.users:,} users, {arguments.cores} cores"
    figures = [USERS_A_SECOND, f"times {DENSE}", f"times {WALK}"]
    report(title, runs, figures, [], arguments.json)


def beside_hugging_face(arguments: argparse.Namespace) -> None:
    """Ours and both of theirs, taking turns."""
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    sizes = {name: getattr(arguments, name) for name in ("size", "beams", "items", "users", "length")}
    runs = [
        bench.measure(how, "generate_tokens", how=how, seed=seed, threads=arguments.cores, **sizes)
        for seed in range(arguments.repeats)
        for how in (OURS, THEIRS, UNCONSTRAINED)
    ]
    ratios = []
    for other in (THEIRS, UNCONSTRAINED):
        faster = median_of(runs, OURS, USERS_A_SECOND) / median_of(runs, other, USERS_A_SECOND)
        smaller = median_of(runs, OURS, MEMORY) / median_of(runs, other, MEMORY)
        ratios += [
            Ratio(f"{OURS} / {other}, {USERS_A_SECOND}", faster, ">= 5"),
            Ratio(f"{OURS} / {other}, {MEMORY}", smaller, "<= 0.25"),
        ]
    title = (
        f"{arguments.beams} beams of {arguments.users} users at once, {arguments.length} items of {LEVELS} codes each, "
        f"{arguments.size} sizes, {arguments.cores} cores"
    )
    report(title, runs, [USERS_A_SECOND, MEMORY], ratios, arguments.json)


def exactness(arguments: argparse.Namespace) -> None:
    """One training a seed, then all widths."""
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    sizes = {name: getattr(arguments, name) for name in ("users", "items", "epochs", "lists", "widths")}
    sizes |= {
        "sequences": str(arguments.sequences.resolve()) if arguments.sequences else "",
        "threads": arguments.cores,
    }
    runs = []
    for seed in range(arguments.repeats):
        trained = bench.measure("training", "train_and_widen", seed=seed, **sizes)
        for width, figures in trained.figures["widths"].items():
            runs.append(Measurement(f"beam {width}", figures, trained.processor, trained.peak))
        print(f"seed {seed}: nDCG@10 of the exact lists {trained.figures['nDCG@10 of the exact lists']:.4f}")
    figures = ["certified", "exact", "nDCG@10 less exact", USERS_A_SECOND]
    of = arguments.sequences.name if arguments.sequences else "made-up sequences"
    report(f"Lists of {K} unseen items by width of the beam, {of}", runs, figures, [], arguments.json)


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step(STEPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("beams")
    command.add_argument("--items", type=int, default=12_101)
    command.add_argument("--users", type=int, default=1_000)
    command.add_argument("--users-of-walk", type=int, default=64, help="for which every item is scored by the walk")
    command.add_argument("--widths", type=int, nargs="+", default=[20, 50, 100])
    common_options(command, repeats=1)
    command.set_defaults(run=beams)
    command = commands.add_parser("hugging-face")
    command.add_argument("--size", choices=list(TIGER_SIZES), default="small")
    command.add_argument("--beams", type=int, default=50)
    command.add_argument("--items", type=int, default=2_000)
    command.add_argument("--users", type=int, default=256)
    command.add_argument("--length", type=int, default=10, help="items of each history")
    common_options(command, repeats=1)
    command.set_defaults(run=beside_hugging_face)
    command = commands.add_parser("exactness")
    command.add_argument("--sequences", type=Path, help="a line for each user: user item item ...")
    command.add_argument("--users", type=int, default=3_000, help="of made-up sequences")
    command.add_argument("--items", type=int, default=2_000, help="of made-up sequences")
    command.add_argument("--epochs", type=int, default=15)
    command.add_argument("--lists", type=int, default=500, help="users that lists are made for, drawn at random")
    command.add_argument("--widths", type=int, nargs="+", default=[10, 20, 50, 100, 200])
    common_options(command, repeats=1)
    command.set_defaults(run=exactness)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
