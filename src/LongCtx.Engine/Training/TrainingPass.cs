using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Training;

/// <summary>
/// Forward and backward over one text from position 0 under one adapter: frozen weights are multiplied as in inference, low-rank paths stand
/// beside them in single precision. Both run as sequences of units, each a few milliseconds at most and shared by the workers.
/// </summary>
/// <remarks>
/// Rows are cut into blocks of 64 at fixed places, whoever works on them and whenever; sums over tokens run in their order. So the bits of a
/// result depend neither on threads nor on where a run was interrupted.
/// </remarks>
internal sealed unsafe partial class TrainingPass
{
    const int Block = AttentionKernel.BlockSize;

    readonly DecoderWeights _weights;
    readonly DecoderConfig _c;
    readonly WorkerPool _workers;
    readonly TrainingWorkspace _w;
    readonly ProjectionGroup _queryKeyValue, _attentionOutput, _gateUp, _down;
    readonly float _epsilon;
    readonly KvMemory _memory;
    readonly RotaryEmbedding _rotary;
    AttentionContext _context = new(null, 0);
    LoraWeights? _adapter;
    LoraWeights? _transposed; // A^T [in, r] and B^T [r, out] in the places of A and B
    Dropout _dropout;
    int _tokens, _firstLabel, _heldOut;

    public TrainingPass(DecoderWeights weights, KvMemory memory, WorkerPool workers, TrainingWorkspace workspace)
    {
        (_weights, _c, _memory, _workers, _w) = (weights, weights.Config, memory, workers, workspace);
        _rotary = new(weights.InverseFrequencies, weights.AttentionScale);
        _queryKeyValue = ProjectionGroup.QueryKeyValue(_c);
        _attentionOutput = ProjectionGroup.AttentionOutput(_c);
        _gateUp = ProjectionGroup.GateUp(_c);
        _down = ProjectionGroup.Down(_c);
        _epsilon = (float)_c.NormEpsilon;
    }

    public int VocabularySize => _c.VocabularySize;

    /// <summary>Counted by the callers of the kernels.</summary>
    public TrainingFlops Flops { get; private set; }

    /// <summary>Gradients of A and B of the last backward pass.</summary>
    public LoraWeights? Gradient { get; private set; }

    LoraTargets Targets => _adapter?.Layout.Targets ?? LoraTargets.None;

    int Rank => _adapter!.Layout.Rank;

    /// <summary>Rows that count in the last layer: those before the first label give it keys and values and nothing else.</summary>
    int FirstRow(int layer) => layer == _c.LayerCount - 1 ? (_firstLabel - 1) / Block * Block : 0;

    /// <summary>What the tokens of the next passes see, whose angles are computed here once.</summary>
    public void Attend(AttentionContext context, int tokens)
    {
        (_context, _tokens) = (context, tokens);
        _w.ReserveCache(_c.KeyValueHeadCount * context.CachedCount * CachedBlock.Count(D, V));
        for (Rotation rotation = Rotation.Near; rotation <= Rotation.FarKey; rotation++)
            for (int row = 0; row < tokens && context.Uses(rotation); row++)
            {
                long at = Angles(rotation, row);
                _rotary.Angles(context.Position(rotation, row), _w.Cosines + at, _w.Sines + at);
                for (int i = 0; i < _rotary.Pairs; i++) _w.NegativeSines[at + i] = -_w.Sines[at + i];
            }
    }

    long Angles(Rotation rotation, int row) => ((int)rotation * (long)_w.Tokens + row) * _rotary.Pairs;

    /// <summary>Makes room for what is as large as the adapter; adapters of one shape use the same.</summary>
    public void Reserve(LoraLayout layout)
    {
        if (Gradient?.Layout is { } present && present.Rank == layout.Rank && present.Targets == layout.Targets) return;
        _transposed = new(layout);
        Gradient = new(layout);
    }

    /// <summary>Sets what the next pass computes; the weights may change between two passes, and are transposed at the start of each.</summary>
    public void Begin(LoraWeights? adapter, int firstLabel, int heldOut, Dropout dropout) =>
        (_adapter, _firstLabel, _heldOut, _dropout) = (adapter, firstLabel, heldOut, dropout);

    /// <summary>Units of 64 rows for every worker.</summary>
    IEnumerable<TrainingUnit> Rows(TrainingUnit unit, int first, Action<int, int, int> body)
    {
        for (int row = first; row < _tokens; row += Block * _workers.Threads)
        {
            RunRows(row, Math.Min(_tokens, row + Block * _workers.Threads), body);
            yield return unit;
        }
    }

    /// <param name="body">(row, rows, worker) of a block</param>
    void RunRows(int first, int end, Action<int, int, int> body) =>
        Run((end - first + Block - 1) / Block, (part, worker) => body(first + part * Block, Math.Min(Block, end - first - part * Block), worker));

    /// <param name="body">(part, worker)</param>
    public void Run(int parts, Action<int, int> body)
    {
        var job = new Job(body);
        _workers.Run(ref job, parts);
    }

    readonly struct Job(Action<int, int> body) : IParallelJob
    {
        public void Execute(int part, int worker) => body(part, worker);
    }

    /// <summary>A^T and B^T: a right operand needs its columns side by side.</summary>
    IEnumerable<TrainingUnit> Transpose()
    {
        if (_adapter is null) yield break;
        LoraTargets[] targets = [.. _adapter.Layout.PresentTargets];
        for (int layer = 0; layer < _c.LayerCount; layer++)
        {
            int l = layer;
            Run(targets.Length, (part, _) =>
            {
                LoraLayout layout = _adapter!.Layout;
                LoraTargets target = targets[part];
                Transpose(_adapter.A(l, target), _transposed!.A(l, target), layout.Rank, layout.Inputs(target));
                Transpose(_adapter.B(l, target), _transposed.B(l, target), layout.Outputs(target), layout.Rank);
            });
            yield return TrainingUnit.Transpose;
        }
    }

    static void Transpose(ReadOnlySpan<float> x, Span<float> y, int rows, int columns)
    {
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++) y[c * rows + r] = x[r * columns + c];
    }

    float* A(int layer, LoraTargets target) => _adapter!.Pointer + _adapter.Layout.A(layer, target);

    float* B(int layer, LoraTargets target) => _adapter!.Pointer + _adapter.Layout.B(layer, target);

    float* TransposedA(int layer, LoraTargets target) => _transposed!.Pointer + _adapter!.Layout.A(layer, target);

    float* TransposedB(int layer, LoraTargets target) => _transposed!.Pointer + _adapter!.Layout.B(layer, target);

    void CountForward(PackedMatrix matrix, int rows) => Flops = Flops with { Forward = Flops.Forward + 2L * rows * matrix.Rows * matrix.Cols };

    /// <param name="inputProducts">Products as large as A x.</param>
    /// <param name="outputProducts">Products as large as B of it.</param>
    void CountLowRank(ProjectionGroup group, int rows, int inputProducts = 1, int outputProducts = 1)
    {
        long products = 0;
        foreach (ProjectionGroup.Member member in group.Members)
            if (Targets.HasFlag(member.Target)) products += (long)inputProducts * group.Inputs + (long)outputProducts * member.Outputs;
        if (products > 0) Flops = Flops with { LowRank = Flops.LowRank + 2 * products * rows * Rank };
    }

    /// <summary>Products of a query with a key that it sees, over all queries from the first on.</summary>
    long AttentionProducts(int firstRow) => _c.QuerySize * _context.ProductCount(firstRow);
}
