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
        for (int t = row; t < row + rows; t++)
        {
            float* qkv = _w.Qkv(layer) + (long)t * _w.QkvWidth;
            for (int h = 0; h < _c.QueryHeadCount; h++)
            {
                float* x = NormHead(qkv + h * D, l.QueryNorm, normed);
                for (Rotation rotation = Rotation.Near; rotation <= Rotation.Sink; rotation++)
                    if (_context.Uses(rotation)) RotateHead(x, Queries(rotation, h, t), rotation, t, ScoreScale * VectorMath.Log2E);
            }

            for (int h = 0; h < _c.KeyValueHeadCount; h++)
            {
                float* x = NormHead(qkv + _c.QuerySize + h * D, l.KeyNorm, normed), value = qkv + _c.QuerySize + _c.KeyValueSize + h * D;
                StoreKey(x, h, 0, Rotation.Near, t);
                if (_context.HasTrainedFarKeys) StoreKey(x, h, 1, Rotation.FarKey, t);
                new ReadOnlySpan<float>(value, D).CopyTo(new(_w.Values + (h * (long)_w.PaddedTokens + t) * V, D));
                Spread(value, _w.ValuesTransposed, h, t);
            }
        }
    }

    float* NormHead(float* x, float* weight, float* normed)
    {
        if (weight == null) return x;
        Elementwise.RmsNorm(x, weight, normed, D, _epsilon);
        return normed;
    }

    void RotateHead(float* x, float* y, Rotation rotation, int row, float factor) =>
        RotaryEmbedding.Rotate(x, y, D, _rotary.Pairs, _w.Cosines + Angles(rotation, row), _w.Sines + Angles(rotation, row), factor);

    void StoreKey(float* x, int head, int set, Rotation rotation, int t)
    {
        int setHead = set * _c.KeyValueHeadCount + head;
        float* key = _w.Keys + (setHead * (long)_w.PaddedTokens + t) * V;
        RotateHead(x, key, rotation, t, 1);
        Spread(key, _w.KeysTransposed, setHead, t);
    }

    void Spread(float* x, float* to, int head, int t)
    {
        float* target = to + ((long)head * _w.PaddedTokens + t / Block * Block) * D + t % Block;
        for (int i = 0; i < D; i++) target[i * Block] = x[i];
    }

    float* Queries(Rotation rotation, int head, int row) => _w.Queries + (((int)rotation * (long)_c.QueryHeadCount + head) * _w.PaddedTokens + row) * D;

    float* DQueries(Rotation rotation, int head, int row) => _w.DQueries + (((int)rotation * (long)_c.QueryHeadCount + head) * _w.PaddedTokens + row) * V;

    float* DKeys(int set, int head, int row) => _w.DKeys + ((set * (long)_c.QueryHeadCount + head) * _w.PaddedTokens + row) * D;

    float* DValues(int head, int row) => _w.DValues + (head * (long)_w.PaddedTokens + row) * D;

    IEnumerable<TrainingUnit> Attention(int layer, int firstRow)
    {
        foreach (TrainingUnit unit in LoadCache(layer)) yield return unit;
        for (int first = firstRow; first < _tokens; first += Block)
        {
            int row = first;
            Run(_c.QueryHeadCount, (head, worker) => AttentionBlock(layer, head, row, worker));
            yield return TrainingUnit.Attention;
        }

        Flops = Flops with { Forward = Flops.Forward + 4 * AttentionProducts(firstRow) };
    }

    /// <summary>What each of the rows sees of a block, and the slots that any of them does; false: none.</summary>
    bool See(KeyBlock block, int row, int rows, AttentionKernel.Slots* visible, out int from, out int end)
    {
        (from, end) = (Block, 0);
        for (int r = 0; r < rows; r++)
        {
            AttentionKernel.Slots slots = visible[r] = _context.Visible(row + r, block);
            if (slots.To < slots.From) continue;
            (from, end) = (Math.Min(from, slots.From), Math.Max(end, slots.To + 1));
        }

        return from < end;
    }

    /// <summary>One head of a block of queries over all keys that it sees.</summary>
    void AttentionBlock(int layer, int head, int row, int worker)
    {
        TrainingScratch s = _w.Scratch[worker];
        int rows = Math.Min(Block, _tokens - row), keyHead = head / (_c.QueryHeadCount / _c.KeyValueHeadCount);
        float* output = s.Heads;
        new Span<float>(output, rows * V).Clear();
        new Span<float>(s.Max, Block).Fill(float.NegativeInfinity);
        new Span<float>(s.Sum, Block).Clear();
        foreach (KeyBlock block in _context.Blocks)
        {
            if (!See(block, row, rows, s.Visible, out int from, out int end)) continue;
            KeyBlockView keys = View(block, keyHead);
            AttentionKernel.Scores(Queries(_context.QueryRotation(block.Region), head, row), rows, D, keys.KeysTransposed, s.Scores, end);
            AttentionKernel.Softmax(s.Scores, rows, keys.Bias, s.Visible, s.Max, s.Sum, s.Factors);
            AttentionKernel.Accumulate(output, rows, V, s.Scores, s.Factors, keys.Values, from, end - 1);
        }

        float* logSumExp = _w.LogSumExp(layer) + head * (long)_w.PaddedTokens + row;
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
        bool isKept = layer == _c.LayerCount - 1; // what the last layer's forward pass has made is still there
        if (!isKept)
            foreach (TrainingUnit unit in LoadCache(layer)) yield return unit;
        foreach (TrainingUnit unit in Rows(TrainingUnit.RotationBackward, 0, (row, rows, worker) =>
        {
            if (!isKept) Rotate(layer, row, rows, worker);
            ClearAttentionGradients(row, rows);
        })) yield return unit;
        for (int first = firstRow; first < _tokens; first += Block)
        {
            int row = first;
            Run(_c.QueryHeadCount, (head, worker) => AttentionBlockBackward(layer, head, row, worker));
            yield return TrainingUnit.AttentionBackward;
        }

        foreach (TrainingUnit unit in Rows(TrainingUnit.RotationBackward, 0, (row, rows, worker) => RotationBackward(layer, row, rows, worker))) yield return unit;
        Flops = Flops with { Backward = Flops.Backward + 8 * AttentionProducts(firstRow) };
    }

    void ClearAttentionGradients(int row, int rows)
    {
        for (int h = 0; h < _c.QueryHeadCount; h++)
        {
            for (Rotation rotation = Rotation.Near; rotation <= Rotation.Sink; rotation++)
                if (_context.Uses(rotation)) new Span<float>(DQueries(rotation, h, row), rows * V).Clear();
            for (int set = 0; set < KeySets; set++) new Span<float>(DKeys(set, h, row), rows * D).Clear();
            new Span<float>(DValues(h, row), rows * D).Clear();
        }
    }

    int KeySets => _context.HasTrainedFarKeys ? 2 : 1;

    void AttentionBlockBackward(int layer, int head, int row, int worker)
    {
        TrainingScratch s = _w.Scratch[worker];
        int rows = Math.Min(Block, _tokens - row), keyHead = head / (_c.QueryHeadCount / _c.KeyValueHeadCount);
        float* dOutput = s.Heads, delta = s.Sum, logSumExp = _w.LogSumExp(layer) + head * (long)_w.PaddedTokens + row;
        for (int r = 0; r < rows; r++)
        {
            long at = (long)(row + r) * _c.QuerySize + head * D;
            new ReadOnlySpan<float>(_w.DAttention + at, D).CopyTo(new(dOutput + r * D, D));
            delta[r] = Gradients.Dot(_w.DAttention + at, _w.Attention(layer) + at, D);
        }

        new Span<float>(s.Factors, Block).Fill(1);
        foreach (KeyBlock block in _context.Blocks)
        {
            if (!See(block, row, rows, s.Visible, out int from, out int end)) continue;
            KeyBlockView keys = View(block, keyHead);
            Rotation rotation = _context.QueryRotation(block.Region);
            float* queries = Queries(rotation, head, row);
            AttentionKernel.Scores(queries, rows, D, keys.KeysTransposed, s.Scores, end);
            AttentionKernel.Scores(dOutput, rows, D, keys.ValuesTransposed, s.DScores, end);
            Gradients.Softmax(s.Scores, s.DScores, keys.Bias, logSumExp, delta, s.Visible, rows);
            AttentionKernel.Accumulate(DQueries(rotation, head, row), rows, V, s.DScores, s.Factors, keys.Keys, from, end - 1);
            if (!block.IsTrained) continue; // the cache is a constant
            int first = block.Index * Block;
            Gemm.Multiply(new(s.Scores, 1, Block), new(dOutput, D), DValues(head, first), D, end, D, rows, accumulate: true);
            Gemm.Multiply(new(s.DScores, 1, Block), new(queries, D), DKeys(KeySet(block), head, first), D, end, D, rows, accumulate: true);
        }
    }

    /// <summary>Back through rotation and head norms, into rows of queries, keys and values.</summary>
    void RotationBackward(int layer, int row, int rows, int worker)
    {
        DecoderLayer l = _weights.Layers[layer];
        int group = _c.QueryHeadCount / _c.KeyValueHeadCount;
        float* sum = _w.Scratch[worker].Heads, turned = sum + V, total = turned + V;
        for (int t = row; t < row + rows; t++)
        {
            float* qkv = _w.Qkv(layer) + (long)t * _w.QkvWidth, dQkv = _w.DQkv + (long)t * _w.QkvWidth;
            for (int h = 0; h < _c.QueryHeadCount; h++)
            {
                new Span<float>(total, D).Clear();
                for (Rotation rotation = Rotation.Near; rotation <= Rotation.Sink; rotation++)
                    if (_context.Uses(rotation)) TurnBack(DQueries(rotation, h, t), rotation, t, ScoreScale);
                NormHeadBackward(qkv + h * D, l.QueryNorm, dQkv + h * D);
            }

            for (int h = 0; h < _c.KeyValueHeadCount; h++)
            {
                new Span<float>(total, D).Clear();
                for (int set = 0; set < KeySets; set++)
                {
                    SumGroup(DKeys(set, h * group, t), sum);
                    TurnBack(sum, set == 0 ? Rotation.Near : Rotation.FarKey, t, Ln2); // queries hold log2(e)
                }

                NormHeadBackward(qkv + _c.QuerySize + h * D, l.KeyNorm, dQkv + _c.QuerySize + h * D);
                SumGroup(DValues(h * group, t), dQkv + _c.QuerySize + _c.KeyValueSize + h * D);
            }
        }

        void SumGroup(float* first, float* to)
        {
            new ReadOnlySpan<float>(first, D).CopyTo(new(to, D));
            for (int i = 1; i < group; i++) Elementwise.Add(first + i * (long)_w.PaddedTokens * D, to, D);
        }

        void TurnBack(float* dy, Rotation rotation, int t, float factor)
        {
            RotaryEmbedding.Rotate(dy, turned, D, _rotary.Pairs, _w.Cosines + Angles(rotation, t), _w.NegativeSines + Angles(rotation, t), factor);
            Elementwise.Add(turned, total, D);
        }

        void NormHeadBackward(float* x, float* weight, float* dx)
        {
            if (weight != null) Gradients.RmsNorm(x, weight, total, dx, D, _epsilon, accumulate: false);
            else new ReadOnlySpan<float>(total, D).CopyTo(new(dx, D));
        }
    }
}
