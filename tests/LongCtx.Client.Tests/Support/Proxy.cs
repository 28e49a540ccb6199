using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace LongCtx.Client.Tests;

/// <summary>A TCP proxy that cuts connections after as many bytes of the answers as it is told.</summary>
internal sealed class Proxy : IAsyncDisposable
{
    readonly TcpListener listener = new(IPAddress.Loopback, 0);
    readonly CancellationTokenSource stop = new();
    readonly ConcurrentBag<Task> connections = [];
    readonly Uri target;
    readonly Func<int, long?> bytesMax;
    readonly Task accepting;
    int opened, cut;

    /// <param name="target">Where the connections go.</param>
    /// <param name="bytesMax">For each connection, by its number from 0: bytes of answers after which it is cut; null never, negative: it is left open but silent after that many.</param>
    public Proxy(Uri target, Func<int, long?>? bytesMax = null)
    {
        (this.target, this.bytesMax) = (target, bytesMax ?? (_ => null));
        listener.Start();
        Address = new($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}");
        accepting = AcceptAsync();
    }

    public Uri Address { get; }

    public int Opened => Volatile.Read(ref opened);

    public int Cut => Volatile.Read(ref cut);

    async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket client = await listener.AcceptSocketAsync(stop.Token);
                connections.Add(ServeAsync(client, bytesMax(Interlocked.Increment(ref opened) - 1)));
            }
        }
        catch (OperationCanceledException)
        {
            // The end.
        }
    }

    async Task ServeAsync(Socket client, long? budget)
    {
        using Socket near = client, far = new(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await far.ConnectAsync(IPAddress.Loopback, target.Port, stop.Token);
            Task requests = PumpAsync(near, far, null);
            await Task.WhenAny(requests, PumpAsync(far, near, budget));
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // The server is down, or the test is over: the client sees a closed connection.
        }
    }

    async Task PumpAsync(Socket from, Socket to, long? budget)
    {
        byte[] buffer = new byte[1024];
        try
        {
            for (long left = budget is { } max ? Math.Abs(max) : long.MaxValue; ;)
            {
                int read = await from.ReceiveAsync(buffer.AsMemory(), stop.Token);
                if (read == 0) return;
                int sent = (int)Math.Min(left, read);
                await to.SendAsync(buffer.AsMemory(0, sent), stop.Token);
                if ((left -= sent) > 0) continue;
                Interlocked.Increment(ref cut);
                if (budget < 0) await Task.Delay(Timeout.Infinite, stop.Token);
                to.LingerState = new(true, 0); // a reset, not an orderly end
                return;
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // One side is gone.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        listener.Dispose();
        await accepting;
        await Task.WhenAll(connections);
        stop.Dispose();
    }
}
