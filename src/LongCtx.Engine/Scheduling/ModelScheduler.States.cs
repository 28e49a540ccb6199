using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.States;

namespace LongCtx.Engine.Scheduling;

/// <summary>Room for sequences that are saved and loaded: it is found as for an admission, and never at the cost of what runs.</summary>
internal sealed partial class ModelScheduler
{
    /// <param name="TryTake">False while there is no room.</param>
    /// <param name="IsLoad">Needs free blocks: whoever comes later waits behind it.</param>
    sealed record Claim(Func<bool> TryTake, Action<Exception> Fail, bool IsLoad, CancellationToken Cancellation);

    readonly List<Claim> _claims = [];
    int _transfers; // sequences that are being copied: their blocks are held for a while

    /// <summary>The sequence as it is now. It shares its blocks with what goes on, so that it may have to wait until that can do without them.</summary>
    public Task<SequenceSnapshot> Snapshot(Sequence sequence, CancellationToken cancellation)
    {
        var taken = new TaskCompletionSource<SequenceSnapshot>(TaskCreationOptions.RunContinuationsAsynchronously);
        _claims.Add(new(TryTake, taken.SetException, IsLoad: false, cancellation));
        return taken.Task;

        bool TryTake()
        {
            if (sequence.IsDropped) throw new LongCtxException(ErrorCode.InvalidRequest, "the sequence is no longer in the cache: it cannot be saved");
            KvSequence fork = sequence.Cache.Fork();
            if (!MakeRoom(newcomer: null))
            {
                fork.Dispose();
                return false;
            }

            _transfers++;
            KvTable[] biased = [.. Enum.GetValues<KvTable>().Where(t => fork[t].Ids.Any(_runner.IsBiased))];
            taken.SetResult(new(fork, sequence.Pending, sequence.Recent.ToArray(), biased));
            return true;
        }
    }

    /// <summary>A sequence of that state whose blocks are still to be filled.</summary>
    public Task<KvSequence> Reserve(KvState state, LoraWeights? adapter, CancellationToken cancellation)
    {
        if (state.BlockCount > BlocksTotal)
            throw new LongCtxException(ErrorCode.InvalidRequest, $"the saved sequence needs {state.BlockCount} KV blocks and the server has {BlocksTotal}: give it more KV memory");
        var taken = new TaskCompletionSource<KvSequence>(TaskCreationOptions.RunContinuationsAsynchronously);
        _claims.Add(new(TryTake, taken.SetException, IsLoad: true, cancellation));
        return taken.Task;

        bool TryTake()
        {
            if (!MakeRoom(newcomer: null, state.BlockCount)) return false;
            _transfers++;
            KvSequence cache = KvSequence.Restore(_runner.Pool, state);
            cache.Adapter = adapter;
            taken.SetResult(cache);
            return true;
        }
    }

    /// <summary>The copying is over, one way or the other.</summary>
    public void EndTransfer(KvSequence cache, bool keep)
    {
        _transfers--;
        if (!keep) cache.Dispose();
        PublishBlocksUsed();
    }

    void ServeClaims()
    {
        if (_claims.Count == 0) return;
        for (int i = 0; i < _claims.Count;)
        {
            if (IsServed(_claims[i])) _claims.RemoveAt(i);
            else i++;
        }

        PublishBlocksUsed();
        if (_claims.Count == 0 || _running.Count > 0 || _transfers > 0) return;
        FailClaims(new LongCtxException(ErrorCode.QueueFull, "the KV memory is taken by other requests: try again later") { RetryAfter = TimeSpan.FromSeconds(2) });
    }

    static bool IsServed(Claim claim)
    {
        try
        {
            claim.Cancellation.ThrowIfCancellationRequested();
            return claim.TryTake();
        }
        catch (Exception e)
        {
            claim.Fail(e); // the caller awaits it
            return true;
        }
    }

    void FailClaims(LongCtxException reason)
    {
        foreach (Claim claim in _claims) claim.Fail(reason);
        _claims.Clear();
    }

    void PublishBlocksUsed() => Volatile.Write(ref _blocksUsed, BlocksTotal - _runner.Pool.FreeCount);
}
