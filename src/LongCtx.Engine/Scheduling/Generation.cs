using System.Text;
using System.Threading.Channels;
using LongCtx.Engine.Sampling;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Scheduling;

/// <summary>A reply under way. Tokens come through a bounded channel; a slow reader pauses this sequence and no other.</summary>
public sealed class Generation
{
    readonly Channel<GeneratedToken> _output;
    readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    readonly InferenceEngine _engine;

    internal Generation(InferenceEngine engine, GenerationRequest request, Sampler sampler, int unreadMax)
    {
        _engine = engine;
        Request = request;
        Sampler = sampler;
        UnreadMax = unreadMax;
        Decoder = new(request.Sequence.Model.Tokenizer);
        Stops = new(request.StopTexts);
        foreach (int id in request.Resumed)
        {
            Text.Append(Take(id));
            SampledCount++;
        }

        SettledTokens = Ids.Count;
        ResumedChars = SettledChars;
        Ending = EndingWithoutSampling();
        _output = Channel.CreateBounded<GeneratedToken>(new BoundedChannelOptions(unreadMax) { SingleReader = true, SingleWriter = true });
    }

    /// <summary>Generated tokens in order; completes, with the failure if there is one, when the generation ends.</summary>
    public ChannelReader<GeneratedToken> Tokens => _output.Reader;

    public Task<GenerationResult> Completion => _completion.Task;

    /// <summary>Stops within one step; what was generated so far stays part of the sequence. Harmless after the end.</summary>
    public void Cancel()
    {
        IsCancelled = true;
        _engine.Wake();
    }

    // Below: engine thread only.

    volatile bool _cancelled;

    internal bool IsCancelled
    {
        get => _cancelled;
        private set => _cancelled = value;
    }

    internal GenerationRequest Request { get; }

    internal Sequence Sequence => Request.Sequence;

    internal Sampler Sampler { get; }

    internal StreamingDecoder Decoder { get; }

    internal StopMatcher Stops { get; }

    internal int UnreadMax { get; }

    /// <summary>How the generation ends without sampling anything: it only feeds, or the resumed tokens are a whole reply. Null otherwise.</summary>
    internal FinishReason? Ending { get; }

    /// <summary>How many of the request's tokens are part of the sequence.</summary>
    internal int Fed { get; set; }

    /// <summary>The resumed tokens are a whole reply: the last one stays pending, as it was when it was sampled.</summary>
    bool LeavesLastPending => Ending is not null && !Request.FeedOnly;

    /// <summary>How many of the request's turn starts have been told to the cache.</summary>
    internal int TurnsBegun { get; set; }

    /// <summary>How many of the request's tokens are still to be computed.</summary>
    internal int Unfed => Math.Max(0, Request.Tokens.Length - (LeavesLastPending ? 1 : 0) - Fed);

    internal bool IsPrefilling => Unfed > 0 || (LeavesLastPending && Fed < Request.Tokens.Length && Sequence.Pending >= 0);

    internal List<int> Ids { get; } = [];

    /// <summary>Length of the reply's text after each of <see cref="Ids"/>, stop texts not yet cut.</summary>
    internal List<int> TextEnds { get; } = [];

    internal StringBuilder Text { get; } = new();

    /// <summary>Tokens of the reply so far, one that ended it included.</summary>
    internal int SampledCount { get; set; }

    /// <summary>Tokens of the reply, the first ones, whose text is final.</summary>
    internal int SettledTokens { get; private set; }

    internal int SettledChars => SettledTokens == 0 ? 0 : TextEnds[SettledTokens - 1];

    internal int ResumedChars { get; }

    /// <summary>After text was added: which tokens it covers.</summary>
    internal void Settle()
    {
        while (SettledTokens < TextEnds.Count && TextEnds[SettledTokens] <= Text.Length) SettledTokens++;
    }

    /// <summary>Adds a token to the reply; returns the text that became final with it.</summary>
    internal string Take(int id)
    {
        Ids.Add(id);
        string added = Decoder.Append(id);
        TextEnds.Add((TextEnds.Count == 0 ? 0 : TextEnds[^1]) + added.Length);
        return Stops.Push(added);
    }

    FinishReason? EndingWithoutSampling()
    {
        if (Request.FeedOnly) return FinishReason.Length;
        if (Ids.Count == 0) return null;
        if (Stops.Matched is not null) return FinishReason.Stop;
        bool isFull = SampledCount >= Request.MaxTokens
            || (Sequence.Policy.LengthMax(Sequence.Model.TrainedLength) is { } max && Sequence.Count + Request.Tokens.Length >= max);
        return isFull ? FinishReason.Length : null;
    }

    internal long EvictedBefore { get; set; }

    internal long AdmittedAt { get; set; }

    internal long FirstTokenAt { get; set; }

    internal bool AwaitsReader { get; set; }

    internal bool HasRoom => _output.Reader.Count < UnreadMax;

    /// <summary>Calls <paramref name="wake"/> when the reader has taken something.</summary>
    internal void WhenRoom(Action wake) => _ = _output.Writer.WaitToWriteAsync().AsTask().ContinueWith(_ => wake(), TaskScheduler.Default);

    internal void Emit(in GeneratedToken token)
    {
        bool written = _output.Writer.TryWrite(token);
        System.Diagnostics.Debug.Assert(written, "a generation without room is left out of the batch");
    }

    internal void Finish(GenerationResult result)
    {
        _completion.TrySetResult(result);
        _output.Writer.TryComplete();
    }

    internal void Fail(Exception reason)
    {
        _completion.TrySetException(reason);
        _ = _completion.Task.Exception; // observed: a caller who left does not bring the process down
        _output.Writer.TryComplete(reason);
    }
}
