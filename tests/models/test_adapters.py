"""LoRA on converted layers: nothing changes before training, the update trains, merging is refused."""

import pytest
import torch
from torch import nn

from stl_algebra import InvalidInput
from stl_kernels import STLLinear
from stl_models.adapters import with_stl_layers

peft = pytest.importorskip("peft")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def test_lora_trains_beside_the_tiles_and_is_not_merged(tmp_path):
    torch.manual_seed(0)
    net, x = Net(), torch.randn(8, 8)
    net.first = STLLinear.from_linear(net.first, "4x4x4-r49")
    expected = net(x)
    config = peft.LoraConfig(target_modules=["first"], r=2)
    model = peft.get_peft_model(net, with_stl_layers(config))
    torch.testing.assert_close(model(x), expected)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora" in name for name in trained)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(x).square().sum().backward()
        optimiser.step()
    moved = model(x)
    assert not torch.allclose(moved, expected)
    with pytest.raises(InvalidInput, match="merge"):
        model.merge_adapter()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").is_file()
    with model.disable_adapter():
        torch.testing.assert_close(model(x), expected)
