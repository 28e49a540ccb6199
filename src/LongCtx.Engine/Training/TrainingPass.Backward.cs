using LongCtx.Engine.Adapters;

namespace LongCtx.Engine.Training;

/// <summary>Gradients of A and B, from the last layer down to the lowest adapted projection; frozen weights get none.</summary>
internal sealed unsafe partial class TrainingPass
{
    /// <summary>Outputs, or inputs, of a gradient that go together.</summary>
    const int GradientRange = 128;

    /// <summary>From DHidden, the gradient of the last hidden states.</summary>
    public IEnumerable<TrainingUnit> Backward()
    {
        for (int l = _c.LayerCount - 1; l >= 0; l--)
        {
            int layer = l, first = FirstRow(layer);
            foreach (TrainingUnit unit in FillPanels(_down, layer)) yield return unit;
            foreach (TrainingUnit unit in Rows(TrainingUnit.FeedForwardBackward, first, (row, rows, worker) => DownBackward(layer, row, rows, worker))) yield return unit;
            foreach (TrainingUnit unit in LowRankGradients(_down, layer, first)) yield return unit;
            if (IsLowest(_down, layer)) break;

            foreach (TrainingUnit unit in FillPanels(_gateUp, layer)) yield return unit;
            foreach (TrainingUnit unit in Rows(TrainingUnit.GateUpBackward, first, (row, rows, worker) => GateUpBackward(layer, row, rows, worker))) yield return unit;
            foreach (TrainingUnit unit in LowRankGradients(_gateUp, layer, first)) yield return unit;
            if (IsLowest(_gateUp, layer)) break;

            foreach (TrainingUnit unit in FillPanels(_attentionOutput, layer)) yield return unit;
            foreach (TrainingUnit unit in Rows(TrainingUnit.AttentionOutputBackward, first, (row, rows, worker) => AttentionOutputBackward(layer, row, rows, worker))) yield return unit;
            foreach (TrainingUnit unit in LowRankGradients(_attentionOutput, layer, first)) yield return unit;
            if (IsLowest(_attentionOutput, layer)) break;

            foreach (TrainingUnit unit in AttentionBackward(layer, first)) yield return unit;
            foreach (TrainingUnit unit in FillPanels(_queryKeyValue, layer)) yield return unit;
            foreach (TrainingUnit unit in Rows(TrainingUnit.QueryKeyValueBackward, 0, (row, rows, worker) => QueryKeyValueBackward(layer, row, rows, worker))) yield return unit;
            foreach (TrainingUnit unit in LowRankGradients(_queryKeyValue, layer, 0)) yield return unit;
        }
    }

    /// <summary>Below it nothing is adapted, and nothing wants the gradient of its input. Every layer has the same targets.</summary>
    bool IsLowest(ProjectionGroup group, int layer) => layer == 0
        && group == (_queryKeyValue.Has(Targets) ? _queryKeyValue : _attentionOutput.Has(Targets) ? _attentionOutput : _gateUp.Has(Targets) ? _gateUp : _down);

    /// <summary>What a group's projections read, [n, inputs].</summary>
    float* InputOf(ProjectionGroup group, int layer) => group == _attentionOutput ? _w.Attention(layer) : _w.Input;

    /// <summary>Gradient of what they give, [n, outputs].</summary>
    float* OutputGradientOf(ProjectionGroup group) => group == _queryKeyValue ? _w.DQkv : group == _gateUp ? _w.DGateUp : _w.DHidden;

    /// <summary>The one frozen matrix that is in single precision.</summary>
    IEnumerable<TrainingUnit> FillPanels(ProjectionGroup group, int layer)
    {
        if (IsLowest(group, layer)) yield break;
        const int WeightsPerUnit = 1 << 20;
        int rows = Math.Max(1, WeightsPerUnit / group.Inputs);
        foreach (ProjectionGroup.Member member in group.Members)
            for (int first = 0; first < member.Outputs; first += rows)
            {
                FillPanels(_weights.Source(member.Slot, layer), first, Math.Min(rows, member.Outputs - first), member.FirstOutput + first, group.Outputs);
                yield return TrainingUnit.Dequantize;
            }
    }

    void DownBackward(int layer, int row, int rows, int worker)
    {
        int ffn = _c.FeedForwardSize;
        float* dProduct = _w.Scratch[worker].Wide;
        InputGradient(_down, layer, row, rows, DHiddenRow(row), dProduct, ffn, worker); // if it is the lowest, what follows only gives the product once more
        for (int i = 0; i < rows; i++)
        {
            float* gateUp = _w.GateUp(layer) + (long)(row + i) * 2 * ffn, dGateUp = _w.DGateUp + (long)(row + i) * 2 * ffn;
            Gradients.SwiGlu(gateUp, gateUp + ffn, dProduct + i * ffn, _w.Input + (long)(row + i) * ffn, dGateUp, dGateUp + ffn, ffn);
        }
    }

    void GateUpBackward(int layer, int row, int rows, int worker) =>
        NormedInputGradient(_gateUp, layer, _w.Middle(layer), _weights.Layers[layer].FeedForwardNorm, row, rows, _w.DGateUp, worker);

    void AttentionOutputBackward(int layer, int row, int rows, int worker) =>
        InputGradient(_attentionOutput, layer, row, rows, DHiddenRow(row), _w.DAttention + (long)row * _c.QuerySize, _c.QuerySize, worker);

    void QueryKeyValueBackward(int layer, int row, int rows, int worker) =>
        NormedInputGradient(_queryKeyValue, layer, _w.Hidden(layer), _weights.Layers[layer].AttentionNorm, row, rows, _w.DQkv, worker);

    /// <summary>DHidden += the gradient through a group that reads the normed residual stream <paramref name="x"/>.</summary>
    void NormedInputGradient(ProjectionGroup group, int layer, float* x, float* weight, int row, int rows, float* dY, int worker)
    {
        int n = _c.HiddenSize;
        float* dNormed = _w.Scratch[worker].Normed;
        Normalise(x, weight, row, rows, _w.Input + (long)row * n);
        InputGradient(group, layer, row, rows, dY + (long)row * group.Outputs, dNormed, n, worker);
        if (IsLowest(group, layer)) return;
        for (int i = 0; i < rows; i++) Gradients.RmsNorm(x + (long)(row + i) * n, weight, dNormed + i * n, DHiddenRow(row + i), n, _epsilon, accumulate: true);
    }

    /// <summary>
    /// dX = dY W + Σ (s dY B) A of rows, [rows, inputs]; s dY B is kept for the gradient of A. The lowest adapted projections compute that alone.
    /// </summary>
    void InputGradient(ProjectionGroup group, int layer, int row, int rows, float* dY, float* dX, nint dXStride, int worker)
    {
        bool isLowest = IsLowest(group, layer);
        if (!isLowest) Gemm.Multiply(new(dY, group.Outputs), new FrozenPanels(_w.WeightPanels, group.Outputs).View, dX, dXStride, rows, group.Inputs, group.Outputs);
        foreach (ProjectionGroup.Member member in group.Members)
        {
            if (!Targets.HasFlag(member.Target)) continue;
            float* lowRank = _w.DLowRankOf(member.Target) + (long)row * Rank;
            Gemm.Multiply(new(dY + member.FirstOutput, group.Outputs), new(B(layer, member.Target), Rank), lowRank, Rank, rows, Rank, member.Outputs);
            Gradients.Scale(lowRank, rows * Rank, _adapter!.Layout.Scale);
            if (isLowest) continue;
            PanelView a = new(A(layer, member.Target), group.Inputs);
            if (_dropout.IsNone)
            {
                Gemm.Multiply(new(lowRank, Rank), a, dX, dXStride, rows, group.Inputs, Rank, accumulate: true);
                continue;
            }

            float* dDropped = _w.Scratch[worker].Dropped;
            Gemm.Multiply(new(lowRank, Rank), a, dDropped, group.Inputs, rows, group.Inputs, Rank);
            for (int i = 0; i < rows; i++)
                _dropout.Apply(layer, member.Target, row + i, dDropped + i * group.Inputs, dX + i * dXStride, group.Inputs, accumulate: true);
        }
    }

    /// <summary>dB = dY^T (s A x) and dA = (s dY B)^T x over the rows from <paramref name="first"/> on, in their order.</summary>
    IEnumerable<TrainingUnit> LowRankGradients(ProjectionGroup group, int layer, int first)
    {
        foreach (ProjectionGroup.Member each in group.Members)
        {
            ProjectionGroup.Member member = each;
            if (!Targets.HasFlag(member.Target)) continue;
            if (!_dropout.IsNone)
            {
                RunRows(first, _tokens, (row, rows, _) => DropInput(group, layer, member.Target, row, rows));
                yield return TrainingUnit.LowRankGradients;
            }

            int outputParts = (member.Outputs + GradientRange - 1) / GradientRange, inputParts = (group.Inputs + GradientRange - 1) / GradientRange;
            Run(outputParts + inputParts, (part, _) =>
            {
                if (part < outputParts) OutputRange(group, member, layer, first, part * GradientRange);
                else InputRange(group, member, layer, first, (part - outputParts) * GradientRange);
            });
            yield return TrainingUnit.LowRankGradients;
        }

        int counted = _tokens - first;
        bool isLowest = IsLowest(group, layer);
        if (!isLowest) Flops = Flops with { Backward = Flops.Backward + 2L * counted * group.Inputs * group.Outputs };
        CountLowRank(group, counted, inputProducts: isLowest ? 1 : 2, outputProducts: 2);
    }

    void DropInput(ProjectionGroup group, int layer, LoraTargets target, int row, int rows)
    {
        float* x = InputOf(group, layer);
        for (long at = (long)row * group.Inputs, end = at + (long)rows * group.Inputs; at < end; at += group.Inputs, row++)
            _dropout.Apply(layer, target, row, x + at, _w.DroppedInput + at, group.Inputs, accumulate: false);
    }

    /// <summary>Rows of dB.</summary>
    void OutputRange(ProjectionGroup group, ProjectionGroup.Member member, int layer, int first, int output)
    {
        float* rows = OutputGradientOf(group) + (long)first * group.Outputs + member.FirstOutput + output;
        float* gradient = Gradient!.Pointer + _adapter!.Layout.B(layer, member.Target) + (long)output * Rank;
        Gemm.Multiply(new(rows, 1, group.Outputs), new(_w.LowRank(layer, member.Target) + (long)first * Rank, Rank),
            gradient, Rank, Math.Min(GradientRange, member.Outputs - output), Rank, _tokens - first);
    }

    /// <summary>Columns of dA.</summary>
    void InputRange(ProjectionGroup group, ProjectionGroup.Member member, int layer, int first, int input)
    {
        float* x = _dropout.IsNone ? InputOf(group, layer) : _w.DroppedInput;
        float* gradient = Gradient!.Pointer + _adapter!.Layout.A(layer, member.Target) + input;
        Gemm.Multiply(new(_w.DLowRankOf(member.Target) + (long)first * Rank, 1, Rank), new(x + (long)first * group.Inputs + input, group.Inputs),
            gradient, group.Inputs, Rank, Math.Min(GradientRange, group.Inputs - input), _tokens - first);
    }
}
