using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

/// <summary>
/// A completion under way. However it ends (by itself, refused, cancelled, failed), its sequence is released or dropped exactly once, and
/// only after the engine is done with it.
/// </summary>
internal sealed class LocalCompletion : IAsyncDisposable
{
    readonly PromptLease<Sequence> _lease;
    Generation? _generation;
    Task<GenerationResult>? _end;

    LocalCompletion(PromptLease<Sequence> lease) => _lease = lease;

    /// <summary>Submits the request; whatever refuses it is thrown from here.</summary>
    public static LocalCompletion Submit(DecoderModel model, PromptLease<Sequence> lease, CompletionRequest request, InferenceEngine engine)
    {
        var completion = new LocalCompletion(lease);
        try
        {
            completion._generation = engine.Submit(new()
            {
                Sequence = lease.Sequence,
                Tokens = lease.Fed,
                TurnStarts = lease.TurnStarts,
                Sampling = request.Sampling,
                MaxTokens = request.MaxTokens!.Value,
                StopTokens = model.StopTokens,
                StopTexts = request.Stop,
                TopLogprobs = request.TopLogprobs,
            });
        }
        catch
        {
            completion.LetGo(lease.Stop(lease.Sequence.Count));
            throw;
        }
        return completion;
    }

    public IAsyncEnumerable<GeneratedToken> Tokens(CancellationToken cancellation) => _generation!.Tokens.ReadAllAsync(cancellation);

    /// <summary>The first token is there, so the whole prompt is in the cache.</summary>
    public void PromptFed() => _lease.PromptFed();

    /// <summary>Waits for the end and gives the sequence back, with all that was generated.</summary>
    public Task<GenerationResult> EndAsync() => _end ??= GiveBackAsync();

    /// <summary>Stops the generation if it still runs.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_end is not null) return;
        _generation!.Cancel();
        await ((Task)EndAsync()).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // the reader has seen the failure, or has left
    }

    async Task<GenerationResult> GiveBackAsync()
    {
        bool keep = false;
        try
        {
            var result = await _generation!.Completion.ConfigureAwait(false);
            keep = _lease.Sequence.IsHeld && _lease.Finish(_lease.Sequence.Count, result.Ids, result.Text, result.TextBeyond);
            return result;
        }
        catch (LongCtxException)
        {
            keep = _lease.Sequence.IsHeld && _lease.Stop(_lease.Sequence.Count); // for want of memory, for instance: it may go better later
            throw;
        }
        finally
        {
            LetGo(keep);
        }
    }

    void LetGo(bool keep)
    {
        if (keep) _lease.Sequence.Release();
        else _lease.Sequence.Drop();
        _lease.Leave();
    }
}
