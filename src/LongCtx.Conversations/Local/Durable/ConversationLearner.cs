using LongCtx.Conversations.Machine;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Training;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Learns a conversation's chunks one after another while it goes on: train, store the state, name the token from which it holds, journal that, use it. The
/// sequence runs on meanwhile and waits only if it comes to that token before the journal has it.
/// </summary>
/// <param name="services">Engine and store.</param>
/// <param name="key">Whose it is.</param>
/// <param name="model">Its weights stay as they are.</param>
/// <param name="cache">Of the conversation.</param>
/// <param name="versions">Of its adapter.</param>
/// <param name="post">Hands something to the machine, behind what it was handed before.</param>
/// <param name="learned">Called in the same place after a chunk whose outcome is in the journal.</param>
/// <param name="leaving">The owner ends.</param>
internal sealed class ConversationLearner(
    ConversationRuntime services, ConversationKey key, DecoderModel model, ConversationCache cache, AdapterVersions versions, Action<Action<ConversationMachine>> post, Action learned, CancellationToken leaving)
{
    /// <summary>Tokens that a reply may compute while the change is being stored.</summary>
    const int Ahead = 16;

    /// <summary>One token of so many is held out by the guard.</summary>
    const int HeldOutPart = 10;

    Task _job = Task.CompletedTask;
    CancellationTokenSource? _cancel;
    TaskCompletionSource<bool>? _settled;

    /// <summary>Whether a chunk is being learned.</summary>
    public bool IsLearning => !_job.IsCompleted;

    /// <exception cref="LongCtxException">It cannot be honoured here.</exception>
    public void Require(AdapterSettings settings)
    {
        if (!CanLearn) throw Refusals.Invalid("conversations do not learn on this server: it was started with --training-share 0", "adapter");
        int seen = settings.Prefix + settings.Chunk;
        if (settings.Mode == AdapterSettings.Recompute && seen > model.TrainedLength)
            throw Refusals.Invalid($"prefix {settings.Prefix} and chunk {settings.Chunk} are {seen} tokens, and {model.Name} was trained on {model.TrainedLength}: make them shorter", "adapter.chunk");
    }

    bool CanLearn => services.Engine.Options.TrainingShare > 0;

    /// <summary>After everything that was stored: begins the next chunk when there is one and none is under way.</summary>
    public void Consider(ConversationState state)
    {
        if (IsLearning || !CanLearn || leaving.IsCancellationRequested || state.Adapter is not { } adapter || state.Policy is null) return;
        if (adapter.NextChunk(state.Tokens, PolicyOptions.ParseRule(state.Policy).Capacity) is not { } range) return;
        var cancel = _cancel = CancellationTokenSource.CreateLinkedTokenSource(leaving);
        Task<bool> job = Task.Run(async () =>
        {
            using (cancel) return await LearnAsync(state, adapter, range, cancel.Token).ConfigureAwait(false);
        }, CancellationToken.None);
        _job = job;
        _ = job.ContinueWith(ended =>
        {
            if (ended is { IsCompletedSuccessfully: true, Result: true }) post(_ => learned());
        }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    /// <summary>The journal has what came of the chunk.</summary>
    public void Settle() => _settled?.TrySetResult(true);

    /// <summary>Discards what is being learned.</summary>
    public async Task StopAsync()
    {
        if (_job.IsCompleted) return;
        await (_cancel?.CancelAsync() ?? Task.CompletedTask).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _job.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>Whether the journal has what came of it.</summary>
    async Task<bool> LearnAsync(ConversationState state, AdapterState adapter, (long From, long To) range, CancellationToken cancellation)
    {
        try
        {
            (AdapterUpdate update, LoraState? learned) = await TrainAsync(state, adapter, range, cancellation).ConfigureAwait(false);
            return learned is null
                ? await JournalAsync((machine, now) => machine.AdapterFailed(update, now), cancellation).ConfigureAwait(false)
                : await UseAsync(update, learned, adapter, cancellation).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Reset, or leaving: the next owner begins this chunk anew.
        }
        catch (StoreException e)
        {
            services.Warn($"the adapter of {key.Id} does not learn now: {e.Message}");
        }
        catch (LongCtxException e) when (e.Code == ErrorCode.ShuttingDown)
        {
            // The same.
        }
        catch (Exception e)
        {
            services.Warn($"the adapter of {key.Id} could not learn tokens {range.From} to {range.To}: {e.Message}");
            var failed = new AdapterUpdate(range.From, range.To, 0, [], 0, 0) { Rejected = e.Message };
            Task<bool> told = JournalAsync((machine, now) => machine.AdapterFailed(failed, now), cancellation);
            await ((Task)told).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return told is { IsCompletedSuccessfully: true, Result: true };
        }

        return false;
    }

    async Task<(AdapterUpdate Update, LoraState? Learned)> TrainAsync(ConversationState state, AdapterState adapter, (long From, long To) range, CancellationToken cancellation)
    {
        AdapterSettings settings = adapter.Settings;
        long first = Math.Max(0, range.From - Math.Max(settings.Prefix, settings.Mode == AdapterSettings.Cached ? 1 : 0));
        long before = await LogPart.FirstEventAsync(services.Store, key, first, state.Seq, cancellation).ConfigureAwait(false);
        LogPart text = await LogPart.ReadAsync(services.Store, key, before, first, range.To, cancellation).ConfigureAwait(false);
        LoraState current = adapter.Current.Number == 0 ? LoraState.Create(LayoutOf(settings), SeedOf(key))
            : await versions.FindAsync(adapter.Current, cancellation).ConfigureAwait(false) ?? throw new InvalidDataException($"the state of version {adapter.Current.Number} is lost: reset the adapter");
        int length = (int)(range.To - range.From);
        var chunk = new TrainingChunk(text.Ids.AsMemory(0, (int)(range.To - first)), Math.Max(1, (int)(range.From - first)), settings.Guard ? length / HeldOutPart : 0);
        var options = new TrainingOptions
        {
            LearningRate = settings.LearningRate, WeightDecay = settings.WeightDecay, GradientClip = settings.GradientClip > 0 ? settings.GradientClip : null,
            WarmUpChunks = settings.WarmUp, Dropout = settings.Dropout, Epochs = settings.Epochs, ScoresBase = true,
        };
        var request = new TrainingRequest(model, key.Tenant, current, chunk, options);
        if (settings.Mode == AdapterSettings.Cached && range.From > first && cache.Find(range.From - 1) is var (sequence, at)) // with the token before the chunk, whose keys are not there yet
            request = request with { Pinned = new(sequence, at, chunk with { Tokens = chunk.Tokens[(int)(range.From - 1 - first)..], FirstLabel = 1 }) };
        TrainingOutcome outcome = await services.Engine.TrainAsync(request, cancellation).ConfigureAwait(false);
        TrainingResult result = outcome.Result;
        var update = new AdapterUpdate(range.From, range.To, result.State is null ? 0 : adapter.Newest + 1, [.. result.Losses.Where(double.IsFinite)], Finite(result.BaseLoss) ?? 0, outcome.Seconds)
        {
            HeldOutBefore = Finite(result.HeldOutBefore), HeldOutAfter = Finite(result.HeldOutAfter), Rejected = result.Rejection,
        };
        return (update, result.State);
    }

    async Task<bool> UseAsync(AdapterUpdate update, LoraState learned, AdapterState adapter, CancellationToken cancellation)
    {
        string digest = learned.Weights.Digest;
        AppendStatus status = await versions.StoreAsync(update.Version, learned, cancellation).ConfigureAwait(false);
        if (status != AppendStatus.Appended)
        {
            post(machine => machine.Replaced(status));
            return false;
        }

        using (await cache.PauseAsync(cancellation).ConfigureAwait(false)) // whoever takes the sequence now must find the change in the journal, or not at all
        {
            (Sequence Sequence, long At, long Token)? held = await cache.HoldAdapterAsync(Ahead).ConfigureAwait(false);
            bool isUsed = false;
            try
            {
                bool isRefill = adapter.Settings.MaxStale is { } max && update.Version - cache.OldestVersion(adapter) > max;
                isUsed = await JournalAsync((machine, now) =>
                {
                    bool refills = isRefill && machine.State.Live is null;
                    long rest = Math.Max(machine.State.Tokens, adapter.Current.FirstToken); // the version before may begin in the turn to come
                    return machine.AdapterLearned(update, digest, refills ? machine.State.Tokens : held?.Token ?? rest, refills, now);
                }, cancellation).ConfigureAwait(false);
            }
            finally
            {
                if (held is { } hold)
                {
                    if (isUsed) hold.Sequence.ReleaseAdapter(hold.At, learned.Weights);
                    else hold.Sequence.CancelAdapter(hold.At);
                }
            }

            return isUsed;
        }
    }

    /// <summary>Lets the machine write and waits until it is stored; false when the machine has no use for it any more.</summary>
    async Task<bool> JournalAsync(Func<ConversationMachine, long, bool> write, CancellationToken cancellation)
    {
        var settled = _settled = new(TaskCreationOptions.RunContinuationsAsynchronously);
        post(machine =>
        {
            if (!write(machine, services.Now())) settled.TrySetResult(false);
        });
        return await settled.Task.WaitAsync(cancellation).ConfigureAwait(false);
    }

    LoraLayout LayoutOf(AdapterSettings settings) =>
        new(model.Config, settings.Rank, settings.Alpha, settings.Targets.Aggregate(LoraTargets.None, (all, name) => all | LoraNames.Of(name)));

    /// <summary>The same conversation learns the same from the same text.</summary>
    static ulong SeedOf(ConversationKey key) => BitConverter.ToUInt64(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(key.Id)));

    static double? Finite(double? number) => number is { } n && double.IsFinite(n) ? n : null;
}
