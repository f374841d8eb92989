"""What a merge is for, at the size of a toy: small encoders with a frozen decoder and two teachers.

Two kinds of data, a teacher for each: branches of one base are merged, and compared with a training with both teachers,
and with a branch that began elsewhere. Only the algebra is the project's; what it does to models is what is tested.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")

from codec.eval.probes.features import nearest_centroid
from codec.eval.probes.sources import View
from codec.merging.vectors import Recipe, combine

SIZE, LATENT, STEPS = 12, 6, 300
LINEAR = Recipe("linear", 1.0, 0)
GRID = [0.0, 0.25, 0.5, 0.75, 1.0]


def network(inner, outer, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inner, 48), nn.Tanh(), nn.Linear(48, outer))


def draw(kind, count, seed):
    """Points of one of two curved surfaces."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(LATENT - 1, SIZE, generator=torch.Generator().manual_seed(100 + kind))
    return torch.tanh(0.7 * torch.randn(count, LATENT - 1, generator=generator) @ mixing)


def teach(kind, points):
    weights = torch.randn(SIZE, 4, generator=torch.Generator().manual_seed(200 + kind))
    return torch.sin(0.5 * points @ weights)


def train(encoder, decoder, kinds, steps, seed, taught):
    """Reconstruction, and the teacher of each kind through a linear head of its own where it is taught."""
    torch.manual_seed(seed)
    heads = nn.ModuleList(nn.Linear(LATENT, 4) for _ in range(2))
    parameters = [*encoder.parameters(), *heads.parameters()] + ([] if taught else [*decoder.parameters()])
    optimizer = torch.optim.Adam(parameters, 3e-3)
    for step in range(steps):
        loss = torch.zeros(())
        for kind in kinds:
            points = draw(kind, 64 // len(kinds), 1000 * seed + step)
            latent = encoder(points)
            loss = loss + (decoder(latent) - points).square().mean()
            if taught:
                loss = loss + 0.3 * (heads[kind](latent) - teach(kind, points)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.requires_grad_(False)


def copy_of(encoder):
    copy = network(SIZE, LATENT, 0)
    copy.load_state_dict(encoder.state_dict())
    return copy


@pytest.fixture(scope="module")
def toy():
    bases = []
    for seed in (1, 2):
        encoder, decoder = network(SIZE, LATENT, seed), network(LATENT, SIZE, 10 + seed)
        train(encoder, decoder, (0, 1), 2 * STEPS, seed, taught=False)
        bases.append((encoder, decoder.requires_grad_(False)))
    (base, decoder), (other, other_decoder) = bases

    def branch(start, judge, kinds, steps=STEPS):
        return train(copy_of(start), judge, kinds, steps, 5, taught=True)

    return SimpleNamespace(
        base=base,
        decoder=decoder,
        first=branch(base, decoder, (0,)),
        second=branch(base, decoder, (1,)),
        joint=branch(base, decoder, (0, 1), 2 * STEPS),
        stranger=branch(other, other_decoder, (1,)),
        other_decoder=other_decoder,
    )


def merged(toy, weights, branches):
    states = [branch.state_dict() for branch in branches]
    start = toy.base.state_dict()
    lambdas = [dict.fromkeys(start, weight) for weight in weights]
    encoder = network(SIZE, LATENT, 0)
    encoder.load_state_dict(combine(start, states, lambdas, LINEAR, [str(k) for k in range(len(states))]))
    return encoder


def error(encoder, decoder, kinds=(0, 1)):
    points = torch.cat([draw(kind, 500, 7) for kind in kinds])
    return ((decoder(encoder(points)) - points).square().mean() / points.var()).item()


def explained(encoder, kind):
    """Share of the teacher's variance that a linear probe finds on new points."""
    views = []
    for seed in (8, 9):
        points = draw(kind, 1000, seed)
        latent = encoder(points)
        views.append((torch.cat([latent, torch.ones(len(latent), 1)], dim=1), teach(kind, points)))
    (seen, targets), (new, wanted) = views
    solution = torch.linalg.lstsq(seen, targets).solution
    return 1 - ((new @ solution - wanted).square().mean() / wanted.var(dim=0).mean()).item()


def excess(toy, other, judge):
    """Largest error of a merge through the base's decoder over that of the worse branch through its own (T6)."""
    worst = max(error(toy.first, toy.decoder), error(other, judge))
    return max(error(merged(toy, (x, 1 - x), (toy.first, other)), toy.decoder) for x in GRID[1:-1]) - worst


def test_branches_of_one_start_can_be_merged_and_those_of_two_cannot(toy):
    shared = excess(toy, toy.second, toy.decoder)
    apart = excess(toy, toy.stranger, toy.other_decoder)
    assert shared < 0.05 and apart > 0.3
    assert error(toy.stranger, toy.other_decoder) < 0.15


def test_a_merge_knows_both_teachers_and_a_branch_its_own(toy):
    def gains(encoder):
        return [explained(encoder, kind) - explained(toy.base, kind) for kind in (0, 1)]

    first, second = gains(toy.first)[0], gains(toy.second)[1]
    assert first > 0.05 and second > 0.015 and gains(toy.first)[1] < 0
    assert all(gain > 0.9 * most for gain, most in zip(gains(toy.joint), (first, second), strict=True))
    both = merged(toy, (0.7, 0.7), (toy.first, toy.second))
    assert all(gain > most / 3 for gain, most in zip(gains(both), (first, second), strict=True))
    assert error(both, toy.decoder) < max(error(toy.first, toy.decoder), error(toy.second, toy.decoder))


def few_shot_accuracy(encoder, kind, draws=5, shots=20):
    """Of the nearest centroid, on quadrants of the teacher's first two outputs: a few points of each class are seen."""
    points = draw(kind, 3000, 21)
    quadrants = (teach(kind, points)[:, :2] > 0).int().numpy() @ [2, 1]
    latents, found = encoder(points).detach().numpy(), []
    for number in range(draws):
        rng = np.random.default_rng(number)
        seen = np.concatenate([rng.permutation(np.flatnonzero(quadrants == k))[:shots] for k in range(4)])
        new = np.setdiff1d(np.arange(len(points)), seen)
        guesses = nearest_centroid(View(1, "vectors"), latents[seen], quadrants[seen], latents[new])
        right = guesses == quadrants[new]
        found.append(np.mean([right[quadrants[new] == k].mean() for k in range(4)]))
    return np.mean(found)


def test_few_shots_find_what_each_model_learned(toy):
    """T10: branches, their merge and the joint training against the base, and a merge that cannot work."""
    start = np.array([few_shot_accuracy(toy.base, kind) for kind in (0, 1)])

    def gains(encoder):
        return [few_shot_accuracy(encoder, kind) for kind in (0, 1)] - start

    first, second, joint = gains(toy.first), gains(toy.second), gains(toy.joint)
    assert first[0] > 0.01 and second[1] > 0.008 and first[1] < -0.01 and second[0] < first[0]
    assert all(joint > 0.005)
    half = gains(merged(toy, (0.5, 0.5), (toy.first, toy.second)))
    assert half[0] > 0.005 and half[1] > -0.01
    assert gains(merged(toy, (0.5, 0.5), (toy.first, toy.stranger)))[0] < -0.03


def test_a_share_of_the_change_keeps_more_than_it_loses(toy):
    """T8: what a branch lost of the other kind comes back faster than what it learned goes."""
    steps = [merged(toy, (alpha,), (toy.first,)) for alpha in GRID]
    lost = [error(step, toy.decoder, (1,)) - error(toy.base, toy.decoder, (1,)) for step in steps]
    known = [explained(step, 0) - explained(toy.base, 0) for step in steps]
    assert known == sorted(known) and lost == sorted(lost) and lost[-1] > 0.05
    assert known[1] / known[-1] > 1.5 * lost[1] / lost[-1]


def test_tokens_change_with_lambda_and_stay_in_use(toy):
    """T9, with the latents of some points as the codebook."""
    codebook = toy.base(torch.cat([draw(kind, 32, 11) for kind in (0, 1)]))
    points = torch.cat([draw(kind, 500, 12) for kind in (0, 1)])
    codes = [torch.cdist(merged(toy, (x,), (toy.first,))(points), codebook).argmin(dim=1) for x in GRID]
    same = [float((one == codes[0]).float().mean()) for one in codes]
    assert same[0] == 1 and same == sorted(same, reverse=True) and same[-1] < 0.9

    def perplexity(code):
        shares = torch.bincount(code, minlength=64) / len(code)
        return float(torch.special.entr(shares).sum().exp())

    assert min(map(perplexity, codes)) > 0.9 * perplexity(codes[0])
