using LongCtx.Conversations.Storage;
using Polly.CircuitBreaker;
using Polly.Timeout;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

/// <summary>What a failure means to the pipeline and to an operator.</summary>
internal static class RedisErrors
{
    /// <summary>
    /// Codes of replies after which nothing has happened and the same command may succeed soon. They stand at the beginning of the message, or
    /// inside it when a command of a script was answered with them.
    /// </summary>
    static readonly string[] PassingCodes = ["LOADING", "MASTERDOWN", "TRYAGAIN", "READONLY", "CLUSTERDOWN", "BUSY ", "NOSCRIPT"];

    /// <summary>Whether the same command may be sent again at once.</summary>
    public static bool MayRepeat(Exception e) => e switch
    {
        RedisServerException => Array.Exists(PassingCodes, code => Says(e, code)),
        RedisConnectionException or TimeoutException or TimeoutRejectedException => true,
        _ => false,
    };

    /// <summary>Whether it speaks against the server; a server that has forgotten a script is well.</summary>
    public static bool CountsAsBroken(Exception e) => MayRepeat(e) && !(e is RedisServerException && Says(e, "NOSCRIPT"));

    /// <summary>Whether Redis or the way to it failed; a cancellation is no failure.</summary>
    public static bool IsFailure(Exception e) =>
        e is RedisException or RedisCommandException or TimeoutException or TimeoutRejectedException or BrokenCircuitException;

    /// <param name="e">A failure.</param>
    /// <param name="server">Its name.</param>
    /// <param name="what">What could not be done, as a verb and its object.</param>
    public static StoreException From(Exception e, string server, string what)
    {
        var (isTransient, reason) = e switch
        {
            BrokenCircuitException => (true, "it failed repeatedly, so it is left alone for a moment. Check the server and the network."),
            TimeoutException or TimeoutRejectedException =>
                (true, "it did not answer in time. The command may have been carried out or not; sending it again is safe. Check the server's load and the network."),
            RedisConnectionException => (true, $"it cannot be reached ({FirstLine(e)}). Check that it runs, its address, password and TLS setting."),
            RedisServerException => Reply(e),
            _ => (false, $"the client refuses the command ({FirstLine(e)}). Check the connection string."),
        };
        return new($"{server} could not {what}: {reason}", isTransient, e);
    }

    static (bool IsTransient, string Reason) Reply(Exception e) => e switch
    {
        _ when Says(e, "NOREPLICAS") => (true, "it refuses writes because too few replicas follow it. Bring the replicas back, or lower min-replicas-to-write."),
        _ when MayRepeat(e) => (true, $"it is starting, failing over, busy or a replica ({FirstLine(e)}). Wait, or name its primary in the connection string."),
        _ when Says(e, "MISCONF") => (false, "it refuses writes because it cannot write its files. Make room on its disk, and see its log."),
        _ when Says(e, "OOM") => (false, "its memory is full. Raise maxmemory, or delete conversations."),
        _ when Says(e, "NOAUTH") || Says(e, "WRONGPASS") => (false, "it refuses user or password. Correct them in the connection string."),
        _ when Says(e, "NOPERM") => (false, $"its user lacks a right ({FirstLine(e)}). Allow EVAL, EVALSHA, SCRIPT, SCAN and the commands of the scripts on the store's keys."),
        _ when Says(e, "WRONGTYPE") => (false, "a key of the store holds something else. Another program writes under the same prefix: choose another one."),
        _ => (false, $"it answered '{FirstLine(e)}'."),
    };

    static bool Says(Exception e, string code) => e.Message.Contains(code, StringComparison.Ordinal);

    static string FirstLine(Exception e) => e.Message.Split('\n')[0].TrimEnd('\r', '.', ' ');
}
