using System.Runtime.CompilerServices;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;
using LongCtx.Engine.Runtime;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// The low-rank paths of a step, beside the frozen products: which row has which adapter, and what those add. Rows of one adapter go
/// together, a few at a time; rows without one are not touched.
/// </summary>
internal sealed unsafe class AdapterPath(WorkerPool workers, DecoderConfig config, int rowsMax) : IDisposable
{
    /// <summary>Rows [From, From + Count) of the order belong to one adapter.</summary>
    readonly record struct Tile(PackedLora Adapter, int From, int Count);

    const int ScratchFloats = LowRank.RowsMax * LoraLayout.RankMax;

    readonly NativeBuffer[] _scratch = new NativeBuffer[workers.Threads]; // u of a tile
    PackedLora?[] _ofRow = [];
    long[] _order = []; // rows with an adapter, those of one together: tag << 32 | row
    int[] _tags = [];
    Tile[] _tiles = [];
    int _tileCount;
    NativeBuffer? _reduced, _gated;

    /// <summary>Whether no row has an adapter: then a step is what it is without this class.</summary>
    public bool IsEmpty { get; private set; } = true;

    /// <summary>Takes the adapters of the sequences of a step.</summary>
    public void Plan(StepBatch batch)
    {
        IsEmpty = true;
        foreach (ref readonly StepBatch.Entry entry in batch.Entries) IsEmpty &= entry.Sequence.Adapter is null;
        if (IsEmpty) return;
        if (_ofRow.Length == 0) Allocate();
        foreach (ref readonly StepBatch.Entry entry in batch.Entries)
        {
            LoraWeights? adapter = entry.Sequence.Adapter;
            if (adapter?.Layout.Difference(config) is { } difference) throw new ArgumentException("an adapter does not fit the model: " + difference, nameof(batch));
            _ofRow.AsSpan(entry.FirstRow, entry.RowCount).Fill(adapter?.Packed);
            _tags.AsSpan(entry.FirstRow, entry.RowCount).Fill(entry.Sequence.AdapterTag);
        }

        Group(batch.RowCount);
    }

    /// <summary>Only these rows go on; the i-th of them is row i from now on.</summary>
    public void Keep(IReadOnlyList<int> rows)
    {
        if (IsEmpty) return;
        for (int i = 0; i < rows.Count; i++) (_ofRow[i], _tags[i]) = (_ofRow[rows[i]], _tags[rows[i]]);
        Group(rows.Count);
    }

    /// <summary>After the step: an adapter's memory goes with its last sequence, not with the next step.</summary>
    public void Forget()
    {
        if (IsEmpty) return;
        Array.Clear(_ofRow);
        Array.Clear(_tiles);
        IsEmpty = true;
    }

    void Group(int rows)
    {
        int count = 0;
        for (int row = 0; row < rows; row++)
            if (_ofRow[row] is not null) _order[count++] = ((long)_tags[row] << 32) | (uint)row;
        _order.AsSpan(0, count).Sort();
        _tileCount = 0;
        for (int from = 0, end; from < count; from = end)
        {
            for (end = from + 1; end < count && end - from < LowRank.RowsMax && _order[end] >> 32 == _order[from] >> 32;) end++;
            _tiles[_tileCount++] = new(_ofRow[(int)_order[from]]!, from, end - from);
        }
    }

    /// <summary>y += scale B (A x) for every row with an adapter that has targets in <paramref name="group"/>; y holds the group's outputs behind one another.</summary>
    public void Add(int layer, LoraTargets group, float* x, nint xStride, float* y, nint yStride)
    {
        if (IsEmpty) return;
        var job = new AddJob { Path = this, Layer = layer, Group = group, X = x, XStride = xStride, Y = y, YStride = yStride };
        workers.Run(ref job, _tileCount);
    }

    /// <summary>The first half of gate and up: A x of every row, for <see cref="AddGateUp"/>.</summary>
    public void ReduceGateUp(int layer, float* x, nint xStride)
    {
        if (IsEmpty) return;
        var job = new ReduceJob { Path = this, Layer = layer, X = x, XStride = xStride };
        workers.Run(ref job, _tileCount);
    }

    /// <summary>The second half for some columns of gate and of up, of one row.</summary>
    public void AddGateUp(int layer, int row, int firstColumn, int columns, float* gate, float* up)
    {
        if (_ofRow[row] is not { } adapter) return;
        float* u = Reduced(row);
        foreach (ref readonly LoraPair pair in adapter.Pairs(layer, PackedLora.GateUp))
        {
            float* y = pair.FirstOutput == 0 ? gate : up;
            LowRank.Expand(pair, &u, 1, firstColumn, columns, &y);
            u += adapter.Rank;
        }
    }

    /// <summary>Keeps columns of silu(gate) × up of one row as they are: the path of down reads them so.</summary>
    public void KeepGated(int row, int firstColumn, int columns, float* gated)
    {
        if (_ofRow[row] is { } adapter && (adapter.Targets & LoraTargets.Down) != LoraTargets.None)
            new ReadOnlySpan<float>(gated, columns).CopyTo(new(Gated + (nint)row * config.FeedForwardSize + firstColumn, columns));
    }

    /// <summary>[rows, ffn]</summary>
    public float* Gated => _gated is { } memory ? (float*)memory.Pointer : null;

    float* Reduced(int row) => (float*)_reduced!.Pointer + (nint)row * 2 * LoraLayout.RankMax;

    /// <summary>A server without adapters never gets here.</summary>
    void Allocate()
    {
        _ofRow = new PackedLora?[rowsMax];
        _order = new long[rowsMax];
        _tags = new int[rowsMax];
        _tiles = new Tile[rowsMax];
        _reduced = new((nuint)rowsMax * 2 * LoraLayout.RankMax * sizeof(float));
        _gated = new((nuint)rowsMax * (nuint)config.FeedForwardSize * sizeof(float));
        for (int i = 0; i < _scratch.Length; i++) _scratch[i] = new(ScratchFloats * sizeof(float));
    }

    struct AddJob : IParallelJob
    {
        public AdapterPath Path;
        public int Layer;
        public LoraTargets Group;
        public float* X, Y;
        public nint XStride, YStride;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)] // the first prompt should not wait for the tiers
        public readonly void Execute(int part, int worker)
        {
            Tile tile = Path._tiles[part];
            float** x = stackalloc float*[LowRank.RowsMax], y = stackalloc float*[LowRank.RowsMax], u = stackalloc float*[LowRank.RowsMax];
            foreach (ref readonly LoraPair pair in tile.Adapter.Pairs(Layer, Group))
            {
                for (int i = 0; i < tile.Count; i++)
                {
                    int row = (int)Path._order[tile.From + i];
                    x[i] = X + row * XStride;
                    y[i] = Y + row * YStride + pair.FirstOutput;
                    u[i] = (float*)Path._scratch[worker].Pointer + i * pair.Rank;
                }

                LowRank.Reduce(pair, x, tile.Count, u);
                LowRank.Expand(pair, u, tile.Count, 0, pair.Outputs, y);
            }
        }
    }

    struct ReduceJob : IParallelJob
    {
        public AdapterPath Path;
        public int Layer;
        public float* X;
        public nint XStride;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)] // the first prompt should not wait for the tiers
        public readonly void Execute(int part, int worker)
        {
            Tile tile = Path._tiles[part];
            float** x = stackalloc float*[LowRank.RowsMax], u = stackalloc float*[LowRank.RowsMax];
            for (int i = 0; i < tile.Count; i++)
            {
                int row = (int)Path._order[tile.From + i];
                x[i] = X + row * XStride;
                u[i] = Path.Reduced(row);
            }

            foreach (ref readonly LoraPair pair in tile.Adapter.Pairs(Layer, PackedLora.GateUp))
            {
                LowRank.Reduce(pair, x, tile.Count, u);
                for (int i = 0; i < tile.Count; i++) u[i] += pair.Rank;
            }
        }
    }

    public void Dispose()
    {
        foreach (NativeBuffer? scratch in _scratch) scratch?.Dispose();
        _reduced?.Dispose();
        _gated?.Dispose();
    }
}
