"""The balancer: the gradient at the output is the weighted mix of unit gradients."""

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import CONTEXT, loss_input

from codec.data.batch import TeacherFrames
from codec.errors import CodecError
from codec.train.balancer import Balancer, BalancerConfig, gradient_norms, output_gradients
from codec.train.losses.registry import build_loss

A = torch.tensor([[3.0, 4.0]])  # of norm 5
B = torch.tensor([[0.0, -2.0]])  # of norm 2


def balance(balancer: Balancer, losses: dict, output: torch.Tensor) -> torch.Tensor:
    """Gradient at ``output`` after balancing."""
    total = balancer(losses, output).total
    return torch.autograd.grad(total, output, retain_graph=True)[0]


def linear(gradient: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """A loss with this gradient."""
    return (gradient * output).sum()


def decoded(latent: torch.Tensor) -> torch.Tensor:
    return 2 * latent


@settings(max_examples=20, deadline=None)
@given(scale_a=st.floats(1e-4, 1e4), scale_b=st.floats(1e-4, 1e4))
def test_two_losses_of_any_scale_mix_by_weight(scale_a, scale_b):
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balancer = Balancer(BalancerConfig(total_norm=10.0), {"a": 3.0, "b": 1.0})
    losses = {"a": linear(scale_a * A, output), "b": linear(scale_b * B, output)}
    # 10 (3/4 (3, 4) / 5 + 1/4 (0, -2) / 2)
    torch.testing.assert_close(balance(balancer, losses, output), torch.tensor([[4.5, 3.5]]))


def test_gradient_goes_on_to_the_parameters():
    latent = torch.zeros(1, 2, requires_grad=True)
    output = decoded(latent)
    Balancer(BalancerConfig(), {"a": 1.0})({"a": linear(A, output)}, output).total.backward()
    torch.testing.assert_close(latent.grad, 2 * A / 5)


def test_one_loss_has_the_total_norm_and_all_of_the_share():
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balanced = Balancer(BalancerConfig(total_norm=7.0), {"a": 0.1})({"a": linear(100 * A, output)}, output)
    assert balanced.shares["a"].item() == pytest.approx(1.0)
    assert balanced.norms["a"].item() == pytest.approx(500.0)
    (gradient,) = torch.autograd.grad(balanced.total, output)
    assert gradient.norm().item() == pytest.approx(7.0)


def test_absent_losses_leave_their_share_to_the_others():
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balancer = Balancer(BalancerConfig(), {"a": 1.0, "adversarial": 3.0, "off": 0.0})
    losses = {"a": linear(A, output), "adversarial": torch.zeros(()), "off": linear(B, output)}
    torch.testing.assert_close(balance(balancer, losses, output), A / 5)


def test_losses_beside_the_output_keep_their_weight():
    latent = torch.ones(1, 2, requires_grad=True)
    output = decoded(latent)
    balancer = Balancer(BalancerConfig(), {"a": 1.0, "commitment": 10.0})
    losses = {"a": linear(A, output), "commitment": latent.square().sum()}
    balanced = balancer(losses, output)
    assert set(balanced.shares) == {"a"}
    balanced.total.backward()
    torch.testing.assert_close(latent.grad, 2 * A / 5 + 10 * 2 * latent.detach())


def test_only_losses_beside_the_output():
    latent = torch.ones(1, 2, requires_grad=True)
    balanced = Balancer(BalancerConfig(), {"commitment": 10.0})({"commitment": latent.sum()}, decoded(latent))
    balanced.total.backward()
    assert latent.grad.tolist() == [[10.0, 10.0]] and not balanced.shares


def test_norms_are_averaged_over_steps_without_bias():
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balancer = Balancer(BalancerConfig(ema_decay=0.5), {"a": 1.0})
    torch.testing.assert_close(balance(balancer, {"a": linear(A, output)}, output), A / 5)
    # (0.5 * 0.5 * 5 + 0.5 * 15) / 0.75 = 35 / 3
    torch.testing.assert_close(balance(balancer, {"a": linear(3 * A, output)}, output), 3 * A / (35 / 3))


def test_shares_show_a_loss_above_its_average():
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balancer = Balancer(BalancerConfig(ema_decay=0.5), {"a": 1.0, "b": 1.0})
    balancer({"a": linear(A, output), "b": linear(B, output)}, output)
    shares = balancer({"a": linear(3 * A, output), "b": linear(B, output)}, output).shares
    assert shares["a"].item() == pytest.approx((9 / 7) / (9 / 7 + 1))


def test_batch_size_does_not_change_the_mix():
    torch.manual_seed(0)
    clips, pull = torch.randn(2, 6), torch.randn(2, 6)

    def gradient(batch: int) -> torch.Tensor:
        """Of parameters shared by the clips, whose batch repeats the two clips."""
        shared = torch.zeros(6, requires_grad=True)
        output = shared + clips.repeat(batch, 1)
        losses = {"a": (output * pull.repeat(batch, 1)).sum(dim=1).mean(), "b": output.square().mean()}
        Balancer(BalancerConfig(), {"a": 1.0, "b": 2.0})(losses, output).total.backward()
        return shared.grad

    torch.testing.assert_close(gradient(3), gradient(1))


def test_zero_gradients_stay_finite():
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balancer = Balancer(BalancerConfig(), {"a": 1.0, "b": 1.0})
    losses = {"a": linear(A, output), "b": output.square().sum()}
    torch.testing.assert_close(balance(balancer, losses, output), 0.5 * A / 5)


def test_an_exploding_step_leaves_the_averages():
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balancer = Balancer(BalancerConfig(), {"a": 1.0})
    balancer({"a": linear(A, output)}, output)
    before = balancer.state_dict()
    balancer({"a": linear(A * float("inf"), output)}, output)
    assert balancer.state_dict() == before


def test_state_resumes_exactly():
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    balancer, resumed = (Balancer(BalancerConfig(), {"a": 1.0, "b": 2.0}) for _ in range(2))
    for scale in (1.0, 7.0, 0.3):
        balancer({"a": linear(scale * A, output), "b": linear(B, output)}, output)
    resumed.load_state_dict(balancer.state_dict())
    losses = {"a": linear(2 * A, output), "b": linear(3 * B, output)}
    assert torch.equal(balance(balancer, losses, output), balance(resumed, losses, output))


def test_bad_weights_are_refused():
    with pytest.raises(CodecError, match="weight of loss 'a' is -1"):
        Balancer(BalancerConfig(), {"a": -1})
    output = decoded(torch.zeros(1, 2, requires_grad=True))
    with pytest.raises(KeyError, match="b"):
        Balancer(BalancerConfig(), {"a": 1.0})({"b": linear(B, output)}, output)


def global_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latent, features = (torch.randn(4, 5, n, generator=generator) for n in (3, 5))
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[0], mask[3, 2:] = False, False
    return torch.randn(4, 8, generator=generator), latent, features, mask


def shared_gradients(rows: slice) -> list[torch.Tensor]:
    """Gradients of a shared offset and of a distillation head, from some rows of the batch."""
    wav, latent, features, mask = (tensor[rows] for tensor in global_batch())
    offset = torch.zeros(8, requires_grad=True)
    output = wav + offset
    torch.manual_seed(1)
    term = build_loss("distill_lm", {"standardize": True}, CONTEXT)
    teachers = {"lm": TeacherFrames(features, mask)}
    losses = {
        "a": output.square().mean(),
        "b": output.exp().mean(),
        "distill_lm": term(loss_input(latent=latent.transpose(1, 2), teachers=teachers)),
    }
    Balancer(BalancerConfig(), {"a": 1.0, "b": 2.0, "distill_lm": 5.0})(losses, output).total.backward()
    return [offset.grad, term.head.weight.grad]


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    gradients = shared_gradients(slice(2 * rank, 2 * rank + 2))
    for gradient in gradients:
        torch.distributed.all_reduce(gradient)
    torch.save([gradient / 2 for gradient in gradients], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one_on_the_same_batch(tmp_path):
    """DDP's mean of two halves equals the whole, though one half has fewer unmasked items."""
    mp.spawn(run_rank, (str(tmp_path),), nprocs=2)
    whole = shared_gradients(slice(0, 4))
    for rank in range(2):
        halves = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for half, expected in zip(halves, whole, strict=True):
            torch.testing.assert_close(half, expected, rtol=1e-5, atol=1e-6)


def test_norms_without_balancing():
    output = decoded(torch.zeros(2, 2, requires_grad=True))
    gradients = output_gradients({"a": linear(A.repeat(2, 1), output), "c": torch.zeros(())}, output)
    assert gradient_norms(gradients)["a"].item() == pytest.approx(10.0)
