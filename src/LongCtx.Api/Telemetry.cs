namespace LongCtx.Api;

/// <summary>What the HTTP layer counts for operators.</summary>
internal sealed class Telemetry
{
    int openStreams;

    /// <summary>Event streams that clients hold open now.</summary>
    public int OpenStreams => Volatile.Read(ref openStreams);

    /// <summary>Counts one stream until it is disposed.</summary>
    public IDisposable OpenStream()
    {
        Interlocked.Increment(ref openStreams);
        return new Stream(this);
    }

    sealed class Stream(Telemetry owner) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref owner.openStreams);
    }
}
