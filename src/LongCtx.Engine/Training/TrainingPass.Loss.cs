using LongCtx.Engine.Cpu;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Training;

/// <summary>Cross-entropy of the labels. Their logits exist a block of rows at a time, however large the vocabulary.</summary>
internal sealed unsafe partial class TrainingPass
{
    int LabelCount => _tokens - _firstLabel;

    int TrainedCount => LabelCount - _heldOut;

    /// <summary>Mean cross-entropy of the labels that are trained, in nats, once <see cref="CrossEntropy"/> has ended.</summary>
    public double Loss => Mean(0, TrainedCount);

    /// <summary>Mean cross-entropy of the held-out tokens, in nats.</summary>
    public double HeldOutLoss => Mean(TrainedCount, _heldOut);

    double Mean(int first, int count)
    {
        double sum = 0;
        for (int i = first; i < first + count; i++) sum += _w.LossRows[i];
        return sum / count;
    }

    /// <summary>Cross-entropy of label <paramref name="first"/> and those behind it; with gradients, those of the trained labels go to DHidden.</summary>
    public IEnumerable<TrainingUnit> CrossEntropy(ReadOnlyMemory<int> tokens, int first, bool withGradients)
    {
        if (withGradients) ClearDHidden();
        for (int at = first; at < LabelCount; at += _w.LogitRows)
        {
            int label = at, rows = Math.Min(_w.LogitRows, LabelCount - label), trained = withGradients ? Math.Clamp(TrainedCount - label, 0, rows) : 0;
            RunRows(0, rows, (row, count, worker) => LoadLogitInput(label + row, row, count, worker));
            foreach (TrainingUnit unit in Logits(rows)) yield return unit;
            for (int r = 0; r < rows; r += Block)
            {
                int row = r;
                Run(Math.Min(Block, rows - row), (part, _) => CrossEntropyRow(tokens.Span[_firstLabel + label + row + part], label + row + part, row + part, row + part < trained));
                yield return TrainingUnit.CrossEntropy;
            }

            if (trained == 0) continue;
            foreach (TrainingUnit unit in LogitsBackward(label, trained)) yield return unit;
        }
    }

    void ClearDHidden() => new Span<float>(_w.DHidden, _tokens * _c.HiddenSize).Clear();

    /// <summary>Row of the hidden states that predicts a label.</summary>
    float* Predictor(int label) => _w.Hidden(_c.LayerCount) + (long)(_firstLabel - 1 + label) * _c.HiddenSize;

    void LoadLogitInput(int label, int row, int rows, int worker)
    {
        float* x = Normalise(Predictor(label), _weights.OutputNorm, 0, rows, _w.Scratch[worker].Normed);
        _w.NormedInput.Load(x, _c.HiddenSize, row, rows);
    }

    IEnumerable<TrainingUnit> Logits(int rows)
    {
        const int PanelsPerPart = 16;
        int panels = _weights.Output.PanelCount, parts = 4 * _workers.Threads;
        for (int first = 0; first < panels; first += parts * PanelsPerPart)
        {
            int panel = first;
            Run(Math.Min(parts, (panels - panel + PanelsPerPart - 1) / PanelsPerPart), (part, _) => LogitPanels(rows, panel + part * PanelsPerPart, PanelsPerPart));
            yield return TrainingUnit.Logits;
        }

        CountForward(_weights.Output, rows);
    }

    void LogitPanels(int rows, int panel, int count) =>
        MatMul.Multiply(_weights.Output, _w.NormedInput, 0, rows, panel, Math.Min(count, _weights.Output.PanelCount - panel), _w.Logits, _c.VocabularySize);

    void CrossEntropyRow(int token, int label, int row, bool withGradient)
    {
        float* logits = _w.Logits + (long)row * _c.VocabularySize;
        float logSumExp = Elementwise.LogSumExp(logits, _c.VocabularySize);
        _w.LossRows[label] = logSumExp - logits[token];
        if (withGradient) Gradients.CrossEntropy(logits, _c.VocabularySize, token, logSumExp, 1f / TrainedCount);
    }

    /// <summary>Through the output matrix, a range of the vocabulary after the other, and the last norm.</summary>
    IEnumerable<TrainingUnit> LogitsBackward(int label, int rows)
    {
        RowSource source = _weights.OutputSource;
        for (int at = 0; at < _c.VocabularySize; at += TrainingWorkspace.VocabularyRange)
        {
            int first = at, count = Math.Min(TrainingWorkspace.VocabularyRange, _c.VocabularySize - first);
            FillPanels(source, first, count, 0, count);
            yield return TrainingUnit.Dequantize;
            RunRows(0, rows, (row, n, _) => AddLogitGradient(row, n, first, count));
            yield return TrainingUnit.LogitsBackward;
        }

        RunRows(0, rows, (row, n, _) => LastNormBackward(label, row, n));
        Flops = Flops with { Backward = Flops.Backward + 2L * rows * _c.VocabularySize * _c.HiddenSize };
        yield return TrainingUnit.LogitsBackward;
    }

    void LastNormBackward(int label, int row, int rows)
    {
        for (int i = row; i < row + rows; i++)
            Gradients.RmsNorm(Predictor(label + i), _weights.OutputNorm, _w.DLogitInput + (long)i * _c.HiddenSize, DHiddenRow(_firstLabel - 1 + label + i), _c.HiddenSize, _epsilon, accumulate: false);
    }

    void AddLogitGradient(int row, int rows, int first, int count) => Gemm.Multiply(
        new(_w.Logits + (long)row * _c.VocabularySize + first, _c.VocabularySize), new FrozenPanels(_w.WeightPanels, count).View,
        _w.DLogitInput + (long)row * _c.HiddenSize, _c.HiddenSize, rows, _c.HiddenSize, count, accumulate: first > 0);

    float* DHiddenRow(int row) => _w.DHidden + (long)row * _c.HiddenSize;

    /// <summary>Some rows of a frozen matrix, as the outputs from <paramref name="output"/> on of one with <paramref name="outputs"/>.</summary>
    void FillPanels(RowSource source, int first, int count, int output, int outputs)
    {
        const int RowsPerPart = 32;
        Run((count + RowsPerPart - 1) / RowsPerPart, (part, worker) =>
        {
            int from = part * RowsPerPart;
            new FrozenPanels(_w.WeightPanels, outputs).Fill(source, first + from, Math.Min(RowsPerPart, count - from), output + from, _w.Scratch[worker].Row);
        });
    }
}
