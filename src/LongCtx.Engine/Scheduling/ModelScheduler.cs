using System.Runtime.InteropServices;
using LongCtx.Engine.Runtime;

namespace LongCtx.Engine.Scheduling;

/// <summary>
/// Continuous batching for one model: two queues, <c>waiting</c> and <c>running</c>. Every step takes one token of each decoding sequence
/// and prompt chunks up to the step's size. Lives on the engine thread.
/// </summary>
internal sealed partial class ModelScheduler(InferenceEngine engine, DecoderModel model) : IDisposable
{
    readonly IModelRunner _runner = model.Runner;
    readonly Queue<Generation> _waiting = new();
    readonly List<Generation> _running = [];
    readonly List<Sequence> _idle = []; // released sequences that are still cached, least recently used first
    readonly List<(Generation Generation, int Entry)> _scheduled = [];
    readonly StepBatch _batch = new();
    readonly int[] _one = new int[1];
    int _runningCount, _blocksUsed;

    public DecoderModel Model { get; } = model;

    public int RunningCount => Volatile.Read(ref _runningCount);

    public int BlocksUsed => Volatile.Read(ref _blocksUsed);

    public int BlocksTotal => _runner.Pool.BlockCount;

    public void Enqueue(Generation generation)
    {
        Sequence sequence = generation.Sequence;
        int tokens = generation.Request.Tokens.Length;
        if (sequence.User is not null || sequence.IsDropped)
        {
            engine.LeftQueue();
            generation.Fail(new LongCtxException(ErrorCode.InvalidRequest, sequence.IsDropped ? "the sequence is no longer in the cache: create a new one" : "the sequence is already generating"));
            return;
        }

        if (tokens == 0 && (sequence.Pending < 0 || generation.Request.FeedOnly))
        {
            engine.LeftQueue();
            generation.Fail(new LongCtxException(ErrorCode.InvalidRequest, "there is nothing to continue: the prompt is empty", "messages"));
            return;
        }

        if (!sequence.Recent.EndsWith(CollectionsMarshal.AsSpan(generation.Ids)[..Math.Max(0, generation.Ids.Count - tokens)]))
        {
            engine.LeftQueue();
            generation.Fail(new LongCtxException(ErrorCode.InvalidRequest, "the resumed tokens are not the newest of the sequence: feed the whole reply with them", "resumed"));
            return;
        }

        if (BlocksMax(generation) > BlocksTotal)
        {
            engine.LeftQueue();
            long need = BlocksMax(generation), have = BlocksTotal;
            generation.Fail(new LongCtxException(ErrorCode.InvalidRequest, $"this request can come to need {need} KV blocks and the server has {have}: lower max_tokens or the capacity, or give the server more KV memory", "max_tokens"));
            return;
        }

        sequence.User = generation;
        Pin(sequence);
        _waiting.Enqueue(generation);
    }

    /// <summary>One step; false when there is nothing to do now.</summary>
    public bool Step()
    {
        DropCancelled();
        ServeClaims();
        Admit();
        Schedule();
        if (_scheduled.Count == 0) return false;
        try
        {
            _runner.Step(_batch);
        }
        catch (Exception e)
        {
            FailScheduled(e);
            return true;
        }

        foreach ((Generation generation, int entry) in _scheduled) Advance(generation, entry);
        PublishBlocksUsed();
        return true;
    }

    void DropCancelled()
    {
        for (int i = _running.Count - 1; i >= 0; i--)
            if (_running[i].IsCancelled) Finish(_running[i], FinishReason.Cancelled);
        for (int i = _waiting.Count; i > 0; i--)
        {
            Generation g = _waiting.Dequeue();
            if (!g.IsCancelled)
            {
                _waiting.Enqueue(g);
                continue;
            }

            engine.LeftQueue();
            g.AdmittedAt = g.FirstTokenAt = engine.Now();
            Finish(g, FinishReason.Cancelled);
        }
    }

    void Admit()
    {
        if (_claims.Exists(c => c.IsLoad)) return;
        while (_waiting.Count > 0 && _running.Count < engine.Options.RunningMax && MakeRoom(_waiting.Peek()))
        {
            Generation g = _waiting.Dequeue();
            engine.LeftQueue();
            _running.Add(g);
            Volatile.Write(ref _runningCount, _running.Count);
            g.AdmittedAt = engine.Now();
            g.EvictedBefore = g.Sequence.Window.Evicted;
            if (!g.IsPrefilling && g.Ending is not null) EndWithoutSampling(g);
        }

        if (_running.Count > 0 || _transfers > 0 || !_waiting.TryPeek(out Generation? stuck)) return;
        // Nothing runs and nothing idle is left: what waits holds the blocks itself. The oldest gives way, or none would ever go on.
        _waiting.Dequeue();
        engine.LeftQueue();
        stuck.Sequence.User = null;
        stuck.Fail(new LongCtxException(ErrorCode.QueueFull, "the KV memory is taken by other requests: try again later") { RetryAfter = TimeSpan.FromSeconds(2) });
    }

    /// <summary>Gives up idle sequences until the newcomer, or so many blocks, fit beside what the running ones may still come to need.</summary>
    bool MakeRoom(Generation? newcomer, int blocks = 0)
    {
        while (_runner.Pool.FreeCount < _running.Sum(Needed) + (newcomer is null ? blocks : Needed(newcomer)))
        {
            if (_idle.Count == 0) return false;
            Free(_idle[0]);
        }

        return true;
    }

    int Needed(Generation g) => Math.Max(0, BlocksMax(g) - g.Sequence.Cache.BlocksSecured);

    int BlocksMax(Generation g)
    {
        long length = g.Sequence.Count + (g.Request.Tokens.Length - g.Fed);
        if (g.Ending is null) length += Math.Max(0, g.Request.MaxTokens - g.SampledCount);
        if (g.Sequence.Policy.LengthMax(Model.TrainedLength) is { } max) length = Math.Min(length, max);
        return Admission.BlocksMax(g.Sequence.Policy, length, engine.Options.PrefillChunk);
    }

    void Schedule()
    {
        _batch.Clear();
        _scheduled.Clear();
        int room = _runner.StepTokensMax;
        foreach (Generation g in _running) // decoding first: nobody waits for another's prompt longer than one step
        {
            if (g.IsPrefilling || room == 0 || !HasRoom(g) || TokensToBoundary(g.Sequence) == 0) continue;
            _one[0] = g.Sequence.Pending;
            _scheduled.Add((g, _batch.Add(g.Sequence.Cache, _one, LogitsKind.Last)));
            room--;
        }

        foreach (Generation g in _running)
        {
            if (!g.IsPrefilling || room == 0) continue;
            AddPromptChunk(g, ref room);
        }
    }

    /// <summary>How many tokens may be computed at once: none beyond a change of the adapter, or the beginning of a chunk that is to be learned.</summary>
    int TokensToBoundary(Sequence s) => Math.Min(s.Adapters.Advance(s.Cache), s.Pins.Advance(s.Cache, () => MakeRoom(newcomer: null)));

    void AddPromptChunk(Generation g, ref int room)
    {
        int pending = g.Sequence.Pending >= 0 ? 1 : 0;
        int most = Math.Min(Math.Min(engine.Options.PrefillChunk, room), TokensToBoundary(g.Sequence));
        int count = Math.Min(most - pending, g.Unfed);
        if (count < 0 || count + pending == 0) return;
        // Only those of the chunk: a generation that is cancelled leaves no turn behind that never came.
        for (IReadOnlyList<int> turns = g.Request.TurnStarts; g.TurnsBegun < turns.Count && turns[g.TurnsBegun] < g.Fed + count; g.TurnsBegun++)
            g.Sequence.Cache.Turns.Add(g.Sequence.Count - g.Fed + turns[g.TurnsBegun]);
        ReadOnlySpan<int> chunk = g.Request.Tokens.Span.Slice(g.Fed, count);
        bool last = count == g.Unfed && g.Ending is null;
        if (pending == 1)
        {
            int[] joined = [g.Sequence.Pending, .. chunk]; // once per turn
            chunk = joined;
        }

        _scheduled.Add((g, _batch.Add(g.Sequence.Cache, chunk, last ? LogitsKind.Last : LogitsKind.None)));
        room -= chunk.Length;
    }

    bool HasRoom(Generation g)
    {
        if (g.HasRoom)
        {
            g.AwaitsReader = false;
            return true;
        }

        if (!g.AwaitsReader)
        {
            g.AwaitsReader = true;
            g.WhenRoom(engine.Wake);
        }

        return false;
    }

    void Remove(Generation g)
    {
        _running.Remove(g);
        g.Sequence.User = null;
        Volatile.Write(ref _runningCount, _running.Count);
    }

    void FailScheduled(Exception cause)
    {
        var failure = new LongCtxException(ErrorCode.EngineFailure, $"the engine failed in a step of {_batch.RowCount} tokens: {cause.Message}", null, cause);
        foreach ((Generation g, _) in _scheduled)
        {
            Remove(g);
            Free(g.Sequence); // its cache may be half written
            g.Fail(failure);
        }
    }

    public void FailAll(LongCtxException reason)
    {
        FailClaims(reason);
        while (_waiting.TryDequeue(out Generation? g))
        {
            engine.LeftQueue();
            g.Sequence.User = null;
            g.Fail(reason);
        }

        foreach (Generation g in _running.ToArray())
        {
            Remove(g);
            g.Fail(reason);
        }
    }

    public void Dispose()
    {
        _batch.Dispose();
        _runner.Dispose();
        Model.Source.Dispose();
    }
}
