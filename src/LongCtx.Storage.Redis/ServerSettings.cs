using System.Globalization;
using LongCtx.Conversations.Storage;

namespace LongCtx.Storage.Redis;

/// <summary>What one primary says of itself.</summary>
/// <param name="Place">host:port.</param>
/// <param name="Info">Its INFO.</param>
/// <param name="Config">Its CONFIG GET; null when it does not let us read it.</param>
internal sealed record ServerSettings(string Place, IReadOnlyDictionary<string, string> Info, IReadOnlyDictionary<string, string>? Config)
{
    public Version Version { get; } = Version.TryParse(Info.GetValueOrDefault("redis_version"), out var version) ? version : new(0, 0);

    /// <summary>The strongest level whose conditions are met; <see cref="Durability.Relaxed"/> when not even its own are.</summary>
    public Durability Holds => !Weaknesses(Durability.Strict).Any() ? Durability.Strict
        : !Weaknesses(Durability.Standard).Any() ? Durability.Standard
        : Durability.Relaxed;

    /// <summary>
    /// What is missing for a level, with the cure. Relaxed: an append-only file. Standard: also a replica that follows closely, without which
    /// writes are refused. Strict: every write is synced before it is acknowledged. A server that is stronger than asked for has no weaknesses.
    /// </summary>
    public IEnumerable<string> Weaknesses(Durability level)
    {
        if (level < Durability.Strict && !Weaknesses(Durability.Strict).Any()) yield break;
        if (Info.GetValueOrDefault("aof_enabled") != "1")
            yield return "Redis keeps no append-only file, so all conversations since its last snapshot are lost when it ends. Set appendonly to yes.";
        else if (Info.GetValueOrDefault("aof_last_write_status", "ok") != "ok")
            yield return "Redis cannot write its append-only file. Make room on its disk and see its log.";
        string policy = Info.GetValueOrDefault("maxmemory_policy", "unknown");
        if (policy != "noeviction") yield return $"maxmemory-policy is {policy}, so a full Redis may drop conversations. Set it to noeviction.";

        if (Config is null)
        {
            yield return "CONFIG GET is not allowed, so appendfsync and min-replicas cannot be checked. Allow it to this user (ACL: +config|get), or ask the provider what they are.";
            yield break;
        }
        string sync = Config.GetValueOrDefault("appendfsync", "unknown");
        if (level == Durability.Strict)
        {
            if (sync != "always") yield return $"appendfsync is {sync}, so the last second of writes may be lost with the machine. Set it to always.";
            if (Config.GetValueOrDefault("no-appendfsync-on-rewrite") == "yes")
                yield return "no-appendfsync-on-rewrite is yes, so nothing is synced while the file is rewritten. Set it to no.";
            yield break;
        }
        if (sync == "no") yield return "appendfsync is no, so the operating system decides when writes reach the disk. Set it to everysec or always.";
        if (level == Durability.Standard && !(Number("min-replicas-to-write") >= 1 && Number("min-replicas-max-lag") is >= 1 and <= 2))
            yield return "Redis acknowledges writes that no replica has, so losing its machine may lose the last second. Give it a replica, and set min-replicas-to-write to 1 and min-replicas-max-lag to 2.";
    }

    public static Dictionary<string, string> ParseInfo(string text) =>
        text.Split('\n').Select(line => line.TrimEnd('\r').Split(':', 2)).Where(pair => pair.Length == 2)
            .DistinctBy(pair => pair[0]).ToDictionary(pair => pair[0], pair => pair[1], StringComparer.Ordinal);

    int Number(string name) => int.TryParse(Config?.GetValueOrDefault(name), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : 0;
}
