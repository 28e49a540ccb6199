using LongCtx.Engine.Cpu;

namespace LongCtx.Engine.Training;

/// <summary>
/// Attention by blocks of 64 queries and 64 keys. Of the N × N probabilities only the log-sum-exp of every query is kept; the backward pass
/// computes them again, block by block. Query heads of a group add up their gradients of the shared keys in the order of the heads.
/// </summary>
internal sealed unsafe partial class TrainingPass
{
    const float Ln2 = 0.693147181f;

    int D => _c.HeadDimension;

    int V => _w.ValueDimension;

    float ScoreScale => 1 / MathF.Sqrt(_c.HeadDimension);

    /// <summary>Queries, keys and values of some rows in the forms of the kernels: normed (Qwen3), rotated, by heads.</summary>
    void Rotate(int layer, int row, int rows, int worker)
    {
        DecoderLayer l = _weights.Layers[layer];
        float* normed = _w.Scratch[worker].Heads;
        long m = _w.PaddedTokens;
        for (int t = row; t < row + rows; t++)
        {
            float* qkv = _w.Qkv(layer) + (long)t * _w.QkvWidth;
            for (int h = 0; h < _c.QueryHeadCount; h++)
                RotateHead(qkv + h * D, l.QueryNorm, normed, _w.Queries + (h * m + t) * D, t, ScoreScale * VectorMath.Log2E);
            for (int h = 0; h < _c.KeyValueHeadCount; h++)
            {
                float* key = _w.Keys + (h * m + t) * V, value = qkv + _c.QuerySize + _c.KeyValueSize + h * D;
                RotateHead(qkv + _c.QuerySize + h * D, l.KeyNorm, normed, key, t, 1);
                new ReadOnlySpan<float>(value, D).CopyTo(new(_w.Values + (h * m + t) * V, D));
                Spread(key, _w.KeysTransposed, h, t);
                Spread(value, _w.ValuesTransposed, h, t);
            }
        }
    }

    void RotateHead(float* x, float* weight, float* normed, float* y, int position, float factor)
    {
        if (weight != null)
        {
            Elementwise.RmsNorm(x, weight, normed, D, _epsilon);
            x = normed;
        }

        int pairs = _weights.InverseFrequencies.Length;
        RotaryEmbedding.Rotate(x, y, D, pairs, _w.Cosines + (long)position * pairs, _w.Sines + (long)position * pairs, factor);
    }

    void Spread(float* x, float* to, int head, int t)
    {
        float* target = to + ((long)head * _w.PaddedTokens + t / Block * Block) * D + t % Block;
        for (int i = 0; i < D; i++) target[i * Block] = x[i];
    }

    IEnumerable<TrainingUnit> Attention(int layer, int firstRow)
    {
        for (int first = firstRow; first < _tokens; first += Block)
        {
            int row = first;
            Run(_c.QueryHeadCount, (head, worker) => AttentionBlock(layer, head, row, worker));
            yield return TrainingUnit.Attention;
        }

        Flops = Flops with { Forward = Flops.Forward + 4 * AttentionProducts(firstRow) };
    }

    /// <summary>One head of a block of queries over all keys that it sees.</summary>
    void AttentionBlock(int layer, int head, int row, int worker)
    {
        TrainingScratch s = _w.Scratch[worker];
        int rows = Math.Min(Block, _tokens - row), keyHead = head / (_c.QueryHeadCount / _c.KeyValueHeadCount);
        long m = _w.PaddedTokens;
        float* queries = _w.Queries + (head * m + row) * D, output = s.Heads;
        new Span<float>(output, rows * V).Clear();
        new Span<float>(s.Max, Block).Fill(float.NegativeInfinity);
        new Span<float>(s.Sum, Block).Clear();
        for (int key = 0; key <= row; key += Block)
        {
            bool diagonal = key == row;
            int end = diagonal ? rows : Block;
            for (int r = 0; r < rows; r++) s.Visible[r] = new(0, diagonal ? r : Block - 1);
            AttentionKernel.Scores(queries, rows, D, _w.KeysTransposed + (keyHead * m + key) * D, s.Scores, end);
            AttentionKernel.Softmax(s.Scores, rows, null, s.Visible, s.Max, s.Sum, s.Factors);
            AttentionKernel.Accumulate(output, rows, V, s.Scores, s.Factors, _w.Values + (keyHead * m + key) * V, 0, end - 1);
        }

        float* logSumExp = _w.LogSumExp(layer) + head * m + row;
        for (int r = 0; r < rows; r++)
        {
            logSumExp[r] = s.Max[r] + MathF.Log2(s.Sum[r]);
            float* to = _w.Attention(layer) + (long)(row + r) * _c.QuerySize + head * D;
            new ReadOnlySpan<float>(output + r * V, D).CopyTo(new(to, D));
            Gradients.Scale(to, D, 1 / s.Sum[r]);
        }
    }

    IEnumerable<TrainingUnit> AttentionBackward(int layer, int firstRow)
    {
        if (layer < _c.LayerCount - 1) // the last layer's are still there
            foreach (TrainingUnit unit in Rows(TrainingUnit.RotationBackward, 0, (row, rows, worker) => Rotate(layer, row, rows, worker))) yield return unit;
        for (int first = firstRow; first < _tokens; first += Block)
        {
            int row = first;
            Run(_c.QueryHeadCount, (head, worker) => AttentionBlockBackward(layer, head, row, firstRow, worker));
            yield return TrainingUnit.AttentionBackward;
        }

        foreach (TrainingUnit unit in Rows(TrainingUnit.RotationBackward, 0, (row, rows, worker) => RotationBackward(layer, row, rows, firstRow, worker))) yield return unit;
        Flops = Flops with { Backward = Flops.Backward + 8 * AttentionProducts(firstRow) };
    }

    void AttentionBlockBackward(int layer, int head, int row, int firstRow, int worker)
    {
        TrainingScratch s = _w.Scratch[worker];
        int rows = Math.Min(Block, _tokens - row), keyHead = head / (_c.QueryHeadCount / _c.KeyValueHeadCount);
        long m = _w.PaddedTokens;
        float* queries = _w.Queries + (head * m + row) * D, dOutput = s.Heads, delta = s.Sum;
        float* dQueries = _w.DQueries + (head * m + row) * V, logSumExp = _w.LogSumExp(layer) + head * m + row;
        for (int r = 0; r < rows; r++)
        {
            long at = (long)(row + r) * _c.QuerySize + head * D;
            new ReadOnlySpan<float>(_w.DAttention + at, D).CopyTo(new(dOutput + r * D, D));
            delta[r] = Gradients.Dot(_w.DAttention + at, _w.Attention(layer) + at, D);
        }

        new Span<float>(dQueries, rows * V).Clear();
        new Span<float>(s.Factors, Block).Fill(1);
        for (int key = 0; key <= row; key += Block)
        {
            bool diagonal = key == row, isFirst = row == Math.Max(key, firstRow);
            int keys = diagonal ? rows : Block;
            AttentionKernel.Scores(queries, rows, D, _w.KeysTransposed + (keyHead * m + key) * D, s.Scores, Block);
            AttentionKernel.Scores(dOutput, rows, D, _w.ValuesTransposed + (keyHead * m + key) * D, s.DScores, Block);
            Gradients.Softmax(s.Scores, s.DScores, logSumExp, delta, rows, diagonal);
            Gemm.Multiply(new(s.Scores, 1, Block), new(dOutput, D), _w.DValues + (head * m + key) * D, D, keys, D, rows, accumulate: !isFirst);
            Gemm.Multiply(new(s.DScores, 1, Block), new(queries, D), _w.DKeys + (head * m + key) * D, D, keys, D, rows, accumulate: !isFirst);
            AttentionKernel.Accumulate(dQueries, rows, V, s.DScores, s.Factors, _w.Keys + (keyHead * m + key) * V, 0, keys - 1);
        }
    }

    /// <summary>Back through rotation and head norms, into one row of queries, keys and values.</summary>
    void RotationBackward(int layer, int row, int rows, int firstRow, int worker)
    {
        DecoderLayer l = _weights.Layers[layer];
        int group = _c.QueryHeadCount / _c.KeyValueHeadCount;
        long m = _w.PaddedTokens;
        float* sum = _w.Scratch[worker].Heads, turned = _w.Scratch[worker].Row;
        for (int t = row; t < row + rows; t++)
        {
            float* qkv = _w.Qkv(layer) + (long)t * _w.QkvWidth, dQkv = _w.DQkv + (long)t * _w.QkvWidth;
            if (t < firstRow) new Span<float>(dQkv, _c.QuerySize).Clear();
            else
                for (int h = 0; h < _c.QueryHeadCount; h++)
                    RotateHeadBackward(qkv + h * D, l.QueryNorm, _w.DQueries + (h * m + t) * V, turned, dQkv + h * D, t, ScoreScale);
            for (int h = 0; h < _c.KeyValueHeadCount; h++)
            {
                SumHeads(_w.DKeys, h, t, sum);
                RotateHeadBackward(qkv + _c.QuerySize + h * D, l.KeyNorm, sum, turned, dQkv + _c.QuerySize + h * D, t, Ln2); // queries hold log2(e)
                SumHeads(_w.DValues, h, t, dQkv + _c.QuerySize + _c.KeyValueSize + h * D);
            }
        }

        void SumHeads(float* from, int keyHead, int t, float* to)
        {
            new ReadOnlySpan<float>(from + (keyHead * group * m + t) * D, D).CopyTo(new(to, D));
            for (int h = keyHead * group + 1; h < (keyHead + 1) * group; h++) Elementwise.Add(from + (h * m + t) * D, to, D);
        }
    }

    void RotateHeadBackward(float* x, float* weight, float* dy, float* turned, float* dx, int position, float factor)
    {
        int pairs = _weights.InverseFrequencies.Length;
        float* cos = _w.Cosines + (long)position * pairs, sin = _w.NegativeSines + (long)position * pairs;
        RotaryEmbedding.Rotate(dy, weight == null ? dx : turned, D, pairs, cos, sin, factor);
        if (weight != null) Gradients.RmsNorm(x, weight, turned, dx, D, _epsilon, accumulate: false);
    }
}
