using System.Collections.Concurrent;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Cpu;
using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;
using LongCtx.Engine.Models;
using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Scheduling;

/// <summary>
/// One engine thread for one device, serving all loaded models. It owns runners, pools and sequences and runs at its own pace; others
/// hand it bounded work and read channels. All public members are thread-safe.
/// </summary>
public sealed partial class InferenceEngine : IAsyncDisposable
{
    readonly ConcurrentQueue<Action> _commands = new();
    readonly ConcurrentQueue<Action> _slices = new(); // longer than a command: one comes between two steps
    readonly Lock _lateGate = new();
    readonly SemaphoreSlim _signal = new(0, 1);
    readonly WorkerPool _workers;
    readonly Thread _thread;
    readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    readonly List<ModelScheduler> _schedulers = [];
    readonly List<EncoderModel> _encoders = [];
    int _queued;
    volatile bool _stopping;

    public InferenceEngine(EngineOptions options)
    {
        options.Validate();
        Options = options;
        _training = new(options, Wake);
        _workers = new(options.Threads);
        _thread = new Thread(Loop) { Name = "longctx-engine", IsBackground = true };
        _thread.Start();
    }

    public EngineOptions Options { get; }

    public DeviceDescription Device => new("cpu", KernelPaths.For(TensorType.F32).ToString().ToLowerInvariant(), Options.Threads);

    public EngineStatus Status
    {
        get
        {
            int running = 0, used = 0, total = 0;
            foreach (ModelScheduler s in Volatile.Read(ref _published))
            {
                running += s.RunningCount;
                used += s.BlocksUsed;
                total += s.BlocksTotal;
            }

            return new(running, Volatile.Read(ref _queued), used, total);
        }
    }

    ModelScheduler[] _published = [];

    /// <summary>Loads a decoder; conversations that are running wait meanwhile.</summary>
    /// <param name="path">A GGUF file or a Hugging Face directory.</param>
    /// <param name="name">What requests call it.</param>
    public Task<DecoderModel> LoadDecoderAsync(string path, string name) => OnEngine(() => AddDecoder(ModelSource.Open(path), name));

    /// <summary>The same for a source that is open already; it belongs to the engine from now on.</summary>
    public Task<DecoderModel> LoadDecoderAsync(ModelSource source, string name) => OnEngine(() => AddDecoder(source, name));

    DecoderModel AddDecoder(ModelSource source, string name)
    {
        if (source.Decoder is null)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"{source.Path} holds an encoder ({source.Architecture}), which cannot generate text", "model");
        var runner = new CpuModelRunner(source, _workers, Options.KvMemoryBytes, Options.StepTokensMax);
        var model = new DecoderModel(name, source, runner);
        _schedulers.Add(new(this, model));
        Volatile.Write(ref _published, [.. _schedulers]);
        return model;
    }

    /// <summary>Loads an encoder for embeddings.</summary>
    public Task<EncoderModel> LoadEncoderAsync(string path, string name) => OnEngine(() => AddEncoder(ModelSource.Open(path), name));

    /// <summary>The same for a source that is open already; it belongs to the engine from now on.</summary>
    public Task<EncoderModel> LoadEncoderAsync(ModelSource source, string name) => OnEngine(() => AddEncoder(source, name));

    EncoderModel AddEncoder(ModelSource source, string name)
    {
        if (source.Encoder is null)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"{source.Path} holds a decoder ({source.Architecture}), which this version does not use for embeddings", "model");
        var model = new EncoderModel(name, source, BertEncoder.Load(source, _workers));
        _encoders.Add(model);
        return model;
    }

    /// <summary>An empty, pinned sequence.</summary>
    /// <param name="model">What computes it.</param>
    /// <param name="policy">What it keeps.</param>
    /// <param name="adapter">What it begins with; null for the base.</param>
    /// <exception cref="LongCtxException">The policy cannot be honoured for the model, or the adapter does not fit it.</exception>
    public Sequence CreateSequence(DecoderModel model, AttentionPolicy policy, LoraWeights? adapter = null)
    {
        RequireHonourable(model, policy);
        var sequence = new Sequence(this, model, policy, new KvSequence(model.Runner.Pool, policy), new PenaltyWindow());
        if (adapter is not null) sequence.SetAdapter(adapter);
        return sequence;
    }

    /// <exception cref="LongCtxException">The adapter was made for another model.</exception>
    internal static void RequireFitting(DecoderModel model, LoraWeights? adapter)
    {
        if (adapter?.Layout.Difference(model.Config) is { } difference)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"the adapter does not fit {model.Name}: {difference}", "adapter");
    }

    static void RequireHonourable(DecoderModel model, AttentionPolicy policy)
    {
        if (policy.Problem(model.TrainedLength) is { } problem)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"policy {policy}: {problem}", "policy");
    }

    /// <summary>
    /// A pinned sequence that holds exactly the first <paramref name="length"/> tokens of <paramref name="source"/>: that sequence itself
    /// when it is idle and of that length, otherwise a fork that shares its blocks. Null when keys it would need are no longer held.
    /// </summary>
    /// <param name="source">A sequence of this engine; it stays as it is.</param>
    /// <param name="length">1 to the source's count.</param>
    /// <param name="newest">The last tokens before <paramref name="length"/>, up to 1,024: what penalties look at. Only used when tokens are cut off.</param>
    public Task<Sequence?> ReuseAsync(Sequence source, long length, ReadOnlyMemory<int> newest) =>
        OnEngine(() => SchedulerOf(source.Model).Reuse(source, length, newest.Span));

    /// <summary>Queues a generation.</summary>
    /// <exception cref="LongCtxException">The queue is full, the prompt is past the policy's bound, or the engine is stopping.</exception>
    public Generation Submit(GenerationRequest request)
    {
        Sequence sequence = request.Sequence;
        Validate(request);
        long end = sequence.Count + request.Tokens.Length - Math.Min(1, request.Resumed.Count); // the last of a reply is not computed
        if (sequence.Policy.LengthMax(sequence.Model.TrainedLength) is { } max && end > max)
            throw new LongCtxException(ErrorCode.ContextLengthExceeded, $"the prompt is {end} tokens long and policy {sequence.Policy} holds at most {max} for {sequence.Model.Name}: shorten it, or use a policy that evicts (endless, streaming, window)", "messages");
        if (_stopping) throw Stopping();
        if (Interlocked.Increment(ref _queued) > Options.QueueMax + FreePlaces())
        {
            Interlocked.Decrement(ref _queued);
            throw new LongCtxException(ErrorCode.QueueFull, $"all {Options.RunningMax} places and the queue of {Options.QueueMax} are taken: try again later") { RetryAfter = TimeSpan.FromSeconds(2) };
        }

        var generation = new Generation(this, request, new Sampler(request.Sampling, sequence.Model.Config.VocabularySize), Options.UnreadTokensMax);
        Post(() => SchedulerOf(sequence.Model).Enqueue(generation));
        return generation;
    }

    static void Validate(GenerationRequest request)
    {
        int vocabulary = request.Sequence.Model.Config.VocabularySize;
        if (request.MaxTokens < 1 && !request.FeedOnly) throw Bad($"max_tokens = {request.MaxTokens} must be at least 1", "max_tokens");
        foreach (int token in request.Tokens.Span)
            if ((uint)token >= (uint)vocabulary) throw Bad($"token id {token} is outside the vocabulary of {vocabulary}", "tokens");
        if (request.Resumed.Count == 0) return;
        if (request.FeedOnly) throw Bad("nothing can be resumed where nothing is generated", "resumed");
        if (request.Resumed.Count > request.MaxTokens) throw Bad($"{request.Resumed.Count} resumed tokens are more than max_tokens = {request.MaxTokens}", "resumed");
        for (int i = 1; i <= Math.Min(request.Resumed.Count, request.Tokens.Length); i++)
            if (request.Resumed[^i] != request.Tokens.Span[^i]) throw Bad("the tokens to feed do not end with the resumed ones", "resumed");

        static LongCtxException Bad(string message, string parameter) => new(ErrorCode.InvalidRequest, message, parameter);
    }

    /// <summary>Embeds texts given as token ids; one L2-normalised vector each.</summary>
    public async Task<float[][]> EmbedAsync(EncoderModel model, IReadOnlyList<int[]> inputs)
    {
        var vectors = new float[inputs.Count][];
        // One batch at a time: between two of them others get their next token.
        for (int first = 0; first < inputs.Count;) first += await OnEngine(() => model.Encoder.EmbedBatch(inputs, first, vectors)).ConfigureAwait(false);
        return vectors;
    }

    int FreePlaces() => Math.Max(0, Options.RunningMax - Status.Running);

    internal void LeftQueue() => Interlocked.Decrement(ref _queued);

    internal void Unpin(Sequence sequence) => SchedulerOf(sequence.Model).Unpin(sequence);

    internal void Free(Sequence sequence) => SchedulerOf(sequence.Model).Free(sequence);

    internal long Now() => Options.Time.GetTimestamp();

    internal double Seconds(long from, long to) => Options.Time.GetElapsedTime(from, to).TotalSeconds;

    internal void Post(Action command) => Post(command, _commands);

    void Post(Action command, ConcurrentQueue<Action> queue)
    {
        queue.Enqueue(command);
        Wake();
        if (_stopped.Task.IsCompleted) EndLateWork(); // nobody else would, and its caller waits
    }

    internal void Wake()
    {
        try
        {
            if (_signal.CurrentCount == 0) _signal.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another thread signalled between the two: one signal is enough.
        }
        catch (ObjectDisposedException)
        {
            // A reader of a reply that had ended came late.
        }
    }

    static LongCtxException Stopping() => new(ErrorCode.ShuttingDown, "the server is shutting down");

    ModelScheduler SchedulerOf(DecoderModel model) =>
        Array.Find(Volatile.Read(ref _published), s => s.Model == model) ?? throw new LongCtxException(ErrorCode.ModelNotFound, $"model {model.Name} is not loaded in this engine", "model");

    Task<T> OnEngine<T>(Func<T> work) => OnEngine(work, _commands);

    Task<T> OnEngine<T>(Func<T> work, ConcurrentQueue<Action> queue)
    {
        var result = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        if (_stopping)
        {
            result.SetException(Stopping());
            return result.Task;
        }

        Post(() =>
        {
            try
            {
                if (_stopping) throw Stopping();
                result.SetResult(work());
            }
            catch (Exception e)
            {
                result.SetException(e); // the caller awaits it
            }
        }, queue);
        return result.Task;
    }

    void Loop()
    {
        while (!_stopping)
        {
            while (_commands.TryDequeue(out Action? command)) command();
            bool worked = _slices.TryDequeue(out Action? slice);
            slice?.Invoke();
            foreach (ModelScheduler scheduler in _schedulers) worked |= scheduler.Step();
            worked |= _training.Step(out TimeSpan? pause);
            if (!worked && _commands.IsEmpty && _slices.IsEmpty && !_stopping) _signal.Wait(pause ?? Timeout.InfiniteTimeSpan);
        }

        EndLateWork();
        foreach (ModelScheduler scheduler in _schedulers) scheduler.Dispose();
        foreach (EncoderModel encoder in _encoders) encoder.Dispose();
        _workers.Dispose();
        _stopped.SetResult();
        EndLateWork(); // what was submitted meanwhile
    }

    /// <summary>Whatever is submitted once the engine stops ends with <see cref="ErrorCode.ShuttingDown"/>.</summary>
    void EndLateWork()
    {
        lock (_lateGate)
        {
            foreach (ModelScheduler scheduler in _schedulers) scheduler.FailAll(Stopping());
            _training.FailAll(Stopping());
            while (_commands.TryDequeue(out Action? command) || _slices.TryDequeue(out command)) command();
            foreach (ModelScheduler scheduler in _schedulers) scheduler.FailAll(Stopping());
            _training.FailAll(Stopping());
        }
    }

    /// <summary>Ends all generations with <see cref="ErrorCode.ShuttingDown"/> and frees everything.</summary>
    public async ValueTask DisposeAsync()
    {
        _stopping = true;
        Wake();
        await _stopped.Task.ConfigureAwait(false);
    }
}
