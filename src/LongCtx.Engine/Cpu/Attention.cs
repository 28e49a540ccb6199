using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Runtime;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// Attention of one layer for all rows of a step: new keys and values are written, keys that leave the neighbour window are rotated once
/// more, then each row attends to its regions and the partial results are merged by log-sum-exp.
/// </summary>
internal sealed unsafe class Attention : IDisposable
{
    const int BlockSize = BlockPool.BlockSize;
    readonly KvMemory _memory;
    readonly AttentionPlan _plan;
    readonly WorkerPool _workers;
    readonly int _queryHeads, _kvHeads, _headsPerKv, _d, _v, _pairs;
    readonly float _scale;
    readonly Scratch[] _scratch;
    StepBatch? _batch;
    float* _partials;
    long _partialsCapacity;
    int _partialStride; // floats of one partial: rows × heads × (v + 2)

    public Attention(KvMemory memory, RotaryEmbedding rotary, WorkerPool workers, int queryHeads, int kvHeads, int headDimension)
    {
        _memory = memory;
        _workers = workers;
        (_queryHeads, _kvHeads, _headsPerKv) = (queryHeads, kvHeads, queryHeads / kvHeads);
        (_d, _v, _pairs) = (headDimension, memory.ValueDimension, rotary.Pairs);
        _scale = (float)(VectorMath.Log2E / Math.Sqrt(headDimension));
        _plan = new(memory, rotary, _headsPerKv);
        _scratch = new Scratch[workers.Threads];
        for (int i = 0; i < _scratch.Length; i++) _scratch[i] = new(_plan.TileRowsMax * _headsPerKv, _d, _v);
    }

    /// <summary>Plans a step; then <see cref="Run"/> once for each layer.</summary>
    public void Plan(StepBatch batch)
    {
        _batch = batch;
        _plan.Build(batch);
        int rows = 0;
        foreach (int e in _plan.SplitEntries) rows = Math.Max(rows, batch.Entries[e].RowCount);
        _partialStride = rows * _headsPerKv * (_v + 2);
        long needed = (long)_plan.PartialCount * _kvHeads * _partialStride;
        if (needed <= _partialsCapacity) return;
        NativeMemory.AlignedFree(_partials);
        _partialsCapacity = needed + needed / 2;
        _partials = (float*)NativeMemory.AlignedAlloc((nuint)(_partialsCapacity * sizeof(float)), 64);
    }

    /// <summary>
    /// <paramref name="qkv"/> [rows, (query + 2 KV heads) × d], not rotated, in: output [rows, query heads × d] in <paramref name="output"/>;
    /// with <paramref name="outputsOnly"/> only what the rows need whose logits are wanted.
    /// </summary>
    public void Run(int layer, float* qkv, float* output, bool outputsOnly = false)
    {
        int rows = _batch!.RowCount;
        var store = new StoreJob { Owner = this, Layer = layer, Qkv = qkv };
        _workers.Run(ref store, rows <= StoreJob.RowsPerPart ? 1 : (rows + StoreJob.RowsPerPart - 1) / StoreJob.RowsPerPart * _kvHeads);
        if (_plan.Crossings.Length > 0)
        {
            var cross = new CrossJob { Owner = this, Layer = layer };
            _workers.Run(ref cross, (_plan.Crossings.Length + CrossJob.KeysPerPart - 1) / CrossJob.KeysPerPart);
        }

        var attend = new AttendJob { Owner = this, Layer = layer, Qkv = qkv, Output = output, OutputsOnly = outputsOnly };
        _workers.Run(ref attend, _plan.Tasks.Length * _kvHeads);
        foreach (int entry in _plan.SplitEntries)
            if (!outputsOnly || _batch.Entries[entry].Kind != LogitsKind.None) MergePartials(entry, output);
    }

    /// <summary>
    /// Keys lie transposed, so neighbouring tokens write into the same cache lines: a part is one head of a whole block's worth of tokens,
    /// that two threads seldom meet.
    /// </summary>
    struct StoreJob : IParallelJob
    {
        public const int RowsPerPart = BlockSize;
        public Attention Owner;
        public int Layer;
        public float* Qkv;

        public readonly void Execute(int part, int worker)
        {
            int rows = Owner._batch!.RowCount, heads = Owner._kvHeads;
            if (rows <= RowsPerPart)
            {
                for (int head = 0; head < heads; head++) Owner.StoreKeys(Layer, head, 0, rows, Qkv);
                return;
            }

            int first = part / heads * RowsPerPart;
            Owner.StoreKeys(Layer, part % heads, first, Math.Min(rows, first + RowsPerPart), Qkv);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    void StoreKeys(int layer, int head, int firstRow, int endRow, float* qkv)
    {
        float* rotated = stackalloc float[_d];
        ushort* halves = stackalloc ushort[_v];
        for (int row = firstRow; row < endRow; row++)
        {
            AttentionPlan.Slot slot = _plan.NewKey(row);
            float* angles = _plan.KeyAngles(row);
            float* key = qkv + ((long)row * (_queryHeads + 2 * _kvHeads) + _queryHeads + head) * _d, value = key + _kvHeads * _d;
            byte* memory = (byte*)slot.Block + _memory.HeadOffset(layer, head);
            RotaryEmbedding.Rotate(key, rotated, _d, _pairs, angles, angles + _pairs, 1);
            ToHalves(rotated, halves, _d);
            var keys = (ushort*)memory + slot.Index;
            for (int i = 0; i < _d; i++) keys[i * BlockSize] = halves[i];
            ToHalves(value, (ushort*)(memory + _memory.KeyBytes) + slot.Index * _v, _d);
            if (_memory.IsBiased(slot.Id)) ((float*)(memory + _memory.BiasOffset))[slot.Index] = 0;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void ToHalves(float* source, ushort* destination, int n)
    {
        int i = 0;
        for (; i + 16 <= n; i += 16) VectorMath.StoreHalf(Vector512.Load(source + i), destination + i);
        if (i == n) return;
        float* tail = stackalloc float[16];
        for (int j = i; j < n; j++) tail[j - i] = source[j];
        for (int j = n - i; j < 16; j++) tail[j] = 0;
        VectorMath.StoreHalf(Vector512.Load(tail), destination + i);
    }

    struct CrossJob : IParallelJob
    {
        public const int KeysPerPart = 16;
        public Attention Owner;
        public int Layer;

        public readonly void Execute(int part, int worker)
        {
            int end = Math.Min(Owner._plan.Crossings.Length, (part + 1) * KeysPerPart);
            for (int i = part * KeysPerPart; i < end; i++) Owner.Cross(Layer, i);
        }
    }

    /// <summary>The second rotation of a key, by floor(j/G) - j, into its far block; its value goes along.</summary>
    void Cross(int layer, int index)
    {
        AttentionPlan.Crossing c = _plan.Crossings[index];
        float* angles = _plan.CrossingAngles(index);
        int padded = (_d + 15) / 16 * 16;
        ushort* halves = stackalloc ushort[padded];
        float* key = stackalloc float[padded];
        for (int i = _d; i < padded; i++) halves[i] = 0;
        bool biased = _memory.IsBiased(c.SourceId), overwrites = _memory.IsBiased(c.DestinationId);
        for (int h = 0; h < _kvHeads; h++)
        {
            byte* source = (byte*)c.Source + _memory.HeadOffset(layer, h), destination = (byte*)c.Destination + _memory.HeadOffset(layer, h);
            ushort* from = (ushort*)source + c.SourceSlot, to = (ushort*)destination + c.DestinationSlot;
            for (int i = 0; i < _d; i++) halves[i] = from[i * BlockSize];
            AttentionKernel.Widen(halves, key, padded, (byte*)halves);
            RotaryEmbedding.Rotate(key, key, _d, _pairs, angles, angles + _pairs, 1);
            ToHalves(key, halves, _d);
            for (int i = 0; i < _d; i++) to[i * BlockSize] = halves[i];
            NativeMemory.Copy((ushort*)(source + _memory.KeyBytes) + c.SourceSlot * _v, (ushort*)(destination + _memory.KeyBytes) + c.DestinationSlot * _v, (nuint)(_v * sizeof(ushort)));
            if (biased || overwrites)
            {
                float bias = biased ? ((float*)(source + _memory.BiasOffset))[c.SourceSlot] : 0;
                _memory.SetBias(c.DestinationId, layer, h, c.DestinationSlot, bias / VectorMath.Log2E);
            }
        }
    }

    struct AttendJob : IParallelJob
    {
        public Attention Owner;
        public int Layer;
        public float* Qkv, Output;
        public bool OutputsOnly;

        public readonly void Execute(int part, int worker)
        {
            int tasks = Owner._plan.Tasks.Length;
            ref readonly AttentionPlan.Task task = ref Owner._plan.Tasks[part % tasks];
            if (!OutputsOnly || Owner.HasOutput(task)) Owner.Attend(Layer, task, part / tasks, Qkv, Output, Owner._scratch[worker]);
        }
    }

    bool HasOutput(in AttentionPlan.Task task)
    {
        ref readonly StepBatch.Entry entry = ref _batch!.Entries[task.Entry];
        for (int row = task.FirstRow; row < task.FirstRow + task.RowCount; row++)
            if (_batch.IsOutput(entry, row)) return true;
        return false;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    void Attend(int layer, in AttentionPlan.Task task, int head, float* qkv, float* output, Scratch s)
    {
        int queries = task.RowCount * _headsPerKv;
        s.Merged.Clear(queries, _v);
        if (task.IsWhole)
        {
            for (Region region = Region.SinksNear; region <= Region.Near; region++)
            {
                (long first, long last) = _plan.Span(task.FirstRow, task.RowCount, region);
                if (last < first) continue;
                LoadQueries(task, head, region, qkv, s.Queries);
                for (long split = first / AttentionPlan.SplitSize; split <= last / AttentionPlan.SplitSize; split++)
                {
                    AttendSplit(layer, task, head, region, split, first, last, s);
                    for (int q = 0; q < queries; q++)
                        AttentionKernel.Merge(s.Merged.Output + q * _v, ref s.Merged.Max[q], ref s.Merged.Sum[q], s.Partial.Output + q * _v, s.Partial.Max[q], s.Partial.Sum[q], _v);
                }
            }

            for (int q = 0; q < queries; q++)
                WriteRow(s.Merged.Output + q * _v, s.Merged.Sum[q], output + ((long)(task.FirstRow + q / _headsPerKv) * _queryHeads + head * _headsPerKv + q % _headsPerKv) * _d);
        }
        else
        {
            (long first, long last) = _plan.Span(task.FirstRow, task.RowCount, task.Region);
            LoadQueries(task, head, task.Region, qkv, s.Queries);
            AttendSplit(layer, task, head, task.Region, task.Split, first, last, s);
            float* to = Partial(task.Partial, head);
            NativeMemory.Copy(s.Partial.Output, to, (nuint)(queries * _v * sizeof(float)));
            NativeMemory.Copy(s.Partial.Max, to + queries * _v, (nuint)(queries * sizeof(float)));
            NativeMemory.Copy(s.Partial.Sum, to + queries * (_v + 1), (nuint)(queries * sizeof(float)));
        }
    }

    float* Partial(int partial, int head) => _partials + ((long)head * _plan.PartialCount + partial) * _partialStride;

    /// <summary>Queries of a tile, rotated for the region and scaled: [rows × heads of the group, d].</summary>
    void LoadQueries(in AttentionPlan.Task task, int head, Region region, float* qkv, float* queries)
    {
        int group = _batch!.Entries[task.Entry].Sequence.Policy.Group;
        for (int r = 0; r < task.RowCount; r++)
        {
            int row = task.FirstRow + r;
            if (_plan.Visible(row, region).IsEmpty) continue;
            float* angles = _plan.QueryAngles(row, region, group);
            float* q = qkv + ((long)row * (_queryHeads + 2 * _kvHeads) + head * _headsPerKv) * _d;
            for (int h = 0; h < _headsPerKv; h++)
                RotaryEmbedding.Rotate(q + h * _d, queries + (r * _headsPerKv + h) * _d, _d, _pairs, angles, angles + _pairs, _scale);
        }
    }

    /// <summary>Partial attention of a tile over one split of one region, into the scratch's partial.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    void AttendSplit(int layer, in AttentionPlan.Task task, int head, Region region, long split, long first, long last, Scratch s)
    {
        s.Partial.Clear(task.RowCount * _headsPerKv, _v);
        long firstBlock = Math.Max(first, split * AttentionPlan.SplitSize) / BlockSize;
        long lastBlock = Math.Min(last, (split + 1) * AttentionPlan.SplitSize - 1) / BlockSize;
        long offset = _memory.HeadOffset(layer, head);
        for (long block = firstBlock; block <= lastBlock; block++)
        {
            long start = block * BlockSize;
            int rowFrom = task.RowCount, rowEnd = 0, from = BlockSize, to = -1;
            for (int r = 0; r < task.RowCount; r++)
            {
                AttentionPlan.Interval see = _plan.Visible(task.FirstRow + r, region);
                if (see.IsEmpty || see.Last < start || see.First >= start + BlockSize) continue;
                rowFrom = Math.Min(rowFrom, r);
                rowEnd = r + 1;
                from = (int)Math.Min(from, Math.Max(0, see.First - start));
                to = (int)Math.Max(to, Math.Min(BlockSize - 1, see.Last - start));
            }

            if (rowEnd <= rowFrom) continue;
            nint tagged = _plan.Block(task.Entry, region, block);
            byte* memory = (byte*)(tagged & ~(nint)1) + offset;
            float* bias = (tagged & 1) != 0 ? (float*)(memory + _memory.BiasOffset) : null;
            int q0 = rowFrom * _headsPerKv, count = (rowEnd - rowFrom) * _headsPerKv;
            byte* next = block == lastBlock ? memory : (byte*)(_plan.Block(task.Entry, region, block + 1) & ~(nint)1) + offset;
            AttentionKernel.Widen((ushort*)memory, s.Keys, _d * BlockSize, memory + _memory.KeyBytes);
            AttentionKernel.Scores(s.Queries + q0 * _d, count, _d, s.Keys, s.Scores, to + 1);
            for (int q = 0; q < count; q++)
            {
                AttentionPlan.Interval see = _plan.Visible(task.FirstRow + rowFrom + q / _headsPerKv, region);
                s.Visible[q] = new((int)Math.Clamp(see.First - start, 0, BlockSize), (int)Math.Clamp(see.Last - start, -1, BlockSize - 1));
            }

            AttentionKernel.Softmax(s.Scores, count, bias, s.Visible, s.Partial.Max + q0, s.Partial.Sum + q0, s.Factors);
            AttentionKernel.Widen((ushort*)(memory + _memory.KeyBytes) + from * _v, s.Values + from * _v, (to + 1 - from) * _v, next);
            AttentionKernel.Accumulate(s.Partial.Output + q0 * _v, count, _v, s.Scores, s.Factors, s.Values, from, to);
        }
    }

    void MergePartials(int entry, float* output)
    {
        StepBatch.Entry e = _batch!.Entries[entry];
        int queries = e.RowCount * _headsPerKv;
        (int first, int end) = _plan.Partials(entry);
        Accumulator merged = _scratch[0].Merged;
        for (int head = 0; head < _kvHeads; head++)
        {
            merged.Clear(queries, _v);
            for (int p = first; p < end; p++)
            {
                float* partial = Partial(p, head);
                for (int q = 0; q < queries; q++)
                    AttentionKernel.Merge(merged.Output + q * _v, ref merged.Max[q], ref merged.Sum[q], partial + q * _v, partial[queries * _v + q], partial[queries * (_v + 1) + q], _v);
            }

            for (int q = 0; q < queries; q++)
                WriteRow(merged.Output + q * _v, merged.Sum[q], output + ((long)(e.FirstRow + q / _headsPerKv) * _queryHeads + head * _headsPerKv + q % _headsPerKv) * _d);
        }
    }

    void WriteRow(float* accumulated, float sum, float* output)
    {
        float factor = 1 / sum;
        for (int i = 0; i < _d; i++) output[i] = accumulated[i] * factor;
    }

    public void Dispose()
    {
        _plan.Dispose();
        foreach (Scratch s in _scratch) s.Dispose();
        NativeMemory.AlignedFree(_partials);
        _partials = null;
    }

    /// <summary>Output [queries, v], running maximum and sum of some queries.</summary>
    sealed class Accumulator(int queries, int v) : IDisposable
    {
        public readonly float* Output = Allocate(queries * v), Max = Allocate(queries + 16), Sum = Allocate(queries + 16); // kernels take 16 at a time

        public void Clear(int queries, int v)
        {
            new Span<float>(Output, queries * v).Clear();
            new Span<float>(Max, queries).Fill(float.NegativeInfinity);
            new Span<float>(Sum, queries).Clear();
        }

        public void Dispose()
        {
            NativeMemory.AlignedFree(Output);
            NativeMemory.AlignedFree(Max);
            NativeMemory.AlignedFree(Sum);
        }
    }

    /// <summary>Buffers of one worker.</summary>
    sealed class Scratch(int queries, int d, int v) : IDisposable
    {
        public readonly float* Queries = Allocate(queries * d), Scores = Allocate(queries * BlockSize), Factors = Allocate(queries + 16);
        public readonly AttentionKernel.Slots* Visible = (AttentionKernel.Slots*)Allocate(2 * (queries + 16));
        public readonly float* Keys = Allocate(d * BlockSize), Values = Allocate(v * BlockSize);
        public readonly Accumulator Merged = new(queries, v), Partial = new(queries, v);

        public void Dispose()
        {
            foreach (nint p in (ReadOnlySpan<nint>)[(nint)Queries, (nint)Scores, (nint)Factors, (nint)Visible, (nint)Keys, (nint)Values]) NativeMemory.AlignedFree((void*)p);
            Merged.Dispose();
            Partial.Dispose();
        }
    }

    static float* Allocate(int count) => (float*)NativeMemory.AlignedAlloc((nuint)count * sizeof(float), 64);
}
