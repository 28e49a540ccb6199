using System.Runtime.CompilerServices;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Cpu;

/// <summary>
/// silu(W_gate x) × (W_up x) of many tokens, straight into the form that the next product takes: what gate and up give is used while it
/// lies in the cache of the core that computed it. (A prompt's 256 tokens of SmolLM2 are 3 MiB for each layer otherwise, written and read.)
/// </summary>
internal sealed unsafe class GatedProduct : IDisposable
{
    /// <summary>Columns of gate, and of up, that go together: whole blocks of activations, and what a float kernel takes at once.</summary>
    const int UnitColumns = 64;

    const int UnitPanels = UnitColumns / PanelLayout.Rows;

    /// <summary>Floats for one worker's gate and up: 256 tokens of a unit, or all columns of one token.</summary>
    const int ScratchFloats = Partition.TokensPerPart * (2 * UnitColumns + Skew);

    /// <summary>Rows a multiple of 512 bytes apart would share an eighth of the first-level cache.</summary>
    const int Skew = 16;

    readonly WorkerPool _workers;
    readonly NativeBuffer[] _scratch;

    public GatedProduct(WorkerPool workers)
    {
        _workers = workers;
        _scratch = new NativeBuffer[workers.Threads];
        for (int i = 0; i < _scratch.Length; i++) _scratch[i] = new(ScratchFloats * sizeof(float));
    }

    /// <param name="gateUp">[2 × ffn, hidden], the rows of gate first.</param>
    /// <param name="bias">[2 × ffn] or null.</param>
    /// <param name="input">[rows, hidden]</param>
    /// <param name="output">[rows, ffn]</param>
    /// <param name="adapters">Adds its part of this layer to gate and up.</param>
    public void Run(PackedMatrix gateUp, float* bias, Activations input, int rows, Activations output, int layer, AdapterPath adapters)
    {
        int units = (output.Cols + UnitColumns - 1) / UnitColumns;
        var job = new Job
        {
            Owner = this, GateUp = gateUp, Bias = bias, Input = input, Output = output, Layer = layer, Adapters = adapters.IsEmpty ? null : adapters,
            Partition = Partition.For(units, gateUp.Bytes, rows, _workers.Threads),
        };
        _workers.Run(ref job, job.Partition.Parts);
    }

    struct Job : IParallelJob
    {
        public GatedProduct Owner;
        public PackedMatrix GateUp;
        public float* Bias;
        public Activations Input, Output;
        public AdapterPath? Adapters;
        public int Layer;
        public Partition Partition;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)] // the first prompt should not wait for the tiers
        public readonly void Execute(int part, int worker)
        {
            Partition.Part(part, out int token, out int tokens, out int unit, out int units);
            int ffn = Output.Cols, upPanels = GateUp.PanelCount / 2, step = Math.Max(1, (ScratchFloats / tokens - Skew) / (2 * UnitColumns));
            for (int end = unit + units; unit < end; unit += step)
            {
                int first = unit * UnitColumns, columns = Math.Min(Math.Min(step, end - unit) * UnitColumns, ffn - first), stride = 2 * columns + Skew;
                int panel = unit * UnitPanels, panels = (columns + PanelLayout.Rows - 1) / PanelLayout.Rows;
                var gate = (float*)Owner._scratch[worker].Pointer;
                MatMul.Multiply(GateUp, Input, token, tokens, panel, panels, gate - first, stride);
                MatMul.Multiply(GateUp, Input, token, tokens, upPanels + panel, panels, gate + columns - (ffn + first), stride);
                for (int t = 0; t < tokens; t++)
                {
                    float* row = gate + (nint)t * stride;
                    if (Bias != null)
                    {
                        Elementwise.Add(Bias + first, row, columns);
                        Elementwise.Add(Bias + ffn + first, row + columns, columns);
                    }

                    Adapters?.AddGateUp(Layer, token + t, first, columns, row, row + columns);
                    Elementwise.SwiGlu(row, row + columns, row, columns);
                    Adapters?.KeepGated(token + t, first, columns, row);
                }

                Output.Load(gate, stride, token, tokens, first, columns);
            }
        }
    }

    public void Dispose()
    {
        foreach (NativeBuffer scratch in _scratch) scratch.Dispose();
    }
}
