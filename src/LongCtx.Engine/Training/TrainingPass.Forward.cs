using LongCtx.Engine.Cpu;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Training;

internal sealed unsafe partial class TrainingPass
{
    /// <summary>Hidden states of all layers, and what the backward pass needs of them.</summary>
    public IEnumerable<TrainingUnit> Forward(ReadOnlyMemory<int> tokens)
    {
        foreach (TrainingUnit unit in Transpose()) yield return unit;
        Embed(tokens);
        for (int l = 0; l < _c.LayerCount; l++)
        {
            int layer = l, first = FirstRow(layer), rows = _tokens - first;
            DecoderLayer weights = _weights.Layers[layer];
            foreach (TrainingUnit unit in Rows(TrainingUnit.QueryKeyValue, 0, (row, count, worker) => QueryKeyValue(layer, row, count, worker))) yield return unit;
            CountForward(weights.QueryKeyValue, _tokens);
            CountLowRank(_queryKeyValue, _tokens);
            foreach (TrainingUnit unit in Attention(layer, first)) yield return unit;
            foreach (TrainingUnit unit in Rows(TrainingUnit.AttentionOutput, first, (row, count, worker) => AttentionOutput(layer, row, count, worker))) yield return unit;
            CountForward(weights.AttentionOutput, rows);
            CountLowRank(_attentionOutput, rows);
            foreach (TrainingUnit unit in Rows(TrainingUnit.FeedForward, first, (row, count, worker) => FeedForward(layer, row, count, worker))) yield return unit;
            CountForward(weights.GateUp, rows);
            CountForward(weights.Down, rows);
            CountLowRank(_gateUp, rows);
            CountLowRank(_down, rows);
        }
    }

    void Embed(ReadOnlyMemory<int> tokens) => _weights.Embed(tokens.Span, _w.Hidden(0));

    void QueryKeyValue(int layer, int row, int rows, int worker)
    {
        DecoderLayer l = _weights.Layers[layer];
        float* x = Normalise(_w.Hidden(layer), l.AttentionNorm, row, rows, _w.Scratch[worker].Normed);
        float* y = _w.Qkv(layer) + (long)row * _w.QkvWidth;
        Load(_w.NormedInput, x, rows, worker);
        MatMul.Multiply(l.QueryKeyValue, _w.NormedInput, Block * worker, rows, 0, l.QueryKeyValue.PanelCount, y, _w.QkvWidth);
        AddLowRank(_queryKeyValue, layer, x, y, row, rows, worker);
        AddBias(l.QueryKeyValueBias, y, _w.QkvWidth, rows);
        Rotate(layer, row, rows, worker);
    }

    void AttentionOutput(int layer, int row, int rows, int worker)
    {
        DecoderLayer l = _weights.Layers[layer];
        int hidden = _c.HiddenSize;
        float* x = _w.Attention(layer) + (long)row * _c.QuerySize, y = _w.Middle(layer) + (long)row * hidden;
        new ReadOnlySpan<float>(_w.Hidden(layer) + (long)row * hidden, rows * hidden).CopyTo(new(y, rows * hidden));
        Load(_w.AttentionInput, x, rows, worker);
        MatMul.Multiply(l.AttentionOutput, _w.AttentionInput, Block * worker, rows, 0, l.AttentionOutput.PanelCount, y, hidden, accumulate: true);
        AddLowRank(_attentionOutput, layer, x, y, row, rows, worker);
        AddBias(l.AttentionOutputBias, y, hidden, rows);
    }

    void FeedForward(int layer, int row, int rows, int worker)
    {
        DecoderLayer l = _weights.Layers[layer];
        int hidden = _c.HiddenSize, ffn = _c.FeedForwardSize;
        TrainingScratch scratch = _w.Scratch[worker];
        float* x = Normalise(_w.Middle(layer), l.FeedForwardNorm, row, rows, scratch.Normed);
        float* gateUp = _w.GateUp(layer) + (long)row * 2 * ffn;
        Load(_w.NormedInput, x, rows, worker);
        MatMul.Multiply(l.GateUp, _w.NormedInput, Block * worker, rows, 0, l.GateUp.PanelCount, gateUp, 2 * ffn);
        AddLowRank(_gateUp, layer, x, gateUp, row, rows, worker);
        AddBias(l.GateUpBias, gateUp, 2 * ffn, rows);

        float* product = scratch.Wide, y = _w.Hidden(layer + 1) + (long)row * hidden;
        for (int i = 0; i < rows; i++) Elementwise.SwiGlu(gateUp + (long)i * 2 * ffn, gateUp + (long)i * 2 * ffn + ffn, product + i * ffn, ffn);
        new ReadOnlySpan<float>(_w.Middle(layer) + (long)row * hidden, rows * hidden).CopyTo(new(y, rows * hidden));
        Load(_w.FeedForwardInput, product, rows, worker);
        MatMul.Multiply(l.Down, _w.FeedForwardInput, Block * worker, rows, 0, l.Down.PanelCount, y, hidden, accumulate: true);
        AddLowRank(_down, layer, product, y, row, rows, worker);
        AddBias(l.DownBias, y, hidden, rows);
    }

    /// <summary>RMS norm of rows of the residual stream.</summary>
    float* Normalise(float* x, float* weight, int row, int rows, float* normed)
    {
        int n = _c.HiddenSize;
        for (int i = 0; i < rows; i++) Elementwise.RmsNorm(x + (long)(row + i) * n, weight, normed + i * n, n, _epsilon);
        return normed;
    }

    /// <summary>Rows as the frozen products take them, in the worker's own slots.</summary>
    static void Load(Activations to, float* x, int rows, int worker) => to.Load(x, to.Cols, Block * worker, rows);

    /// <summary>y += s B (A x) of every adapted projection of a group; s A x is kept.</summary>
    void AddLowRank(ProjectionGroup group, int layer, float* x, float* y, int row, int rows, int worker)
    {
        foreach (ProjectionGroup.Member member in group.Members)
        {
            if (!Targets.HasFlag(member.Target)) continue;
            float* input = x, lowRank = _w.LowRank(layer, member.Target) + (long)row * Rank;
            if (!_dropout.IsNone)
            {
                input = _w.Scratch[worker].Dropped;
                for (int i = 0; i < rows; i++)
                    _dropout.Apply(layer, member.Target, row + i, x + i * group.Inputs, input + i * group.Inputs, group.Inputs, accumulate: false);
            }

            Gemm.Multiply(new(input, group.Inputs), new(TransposedA(layer, member.Target), Rank), lowRank, Rank, rows, Rank, group.Inputs);
            Gradients.Scale(lowRank, rows * Rank, _adapter!.Layout.Scale);
            Gemm.Multiply(new(lowRank, Rank), new(TransposedB(layer, member.Target), member.Outputs), y + member.FirstOutput, group.Outputs, rows, member.Outputs, Rank, accumulate: true);
        }
    }

    static void AddBias(float* bias, float* y, int width, int rows)
    {
        if (bias == null) return;
        for (int i = 0; i < rows; i++) Elementwise.Add(bias, y + (long)i * width, width);
    }
}
