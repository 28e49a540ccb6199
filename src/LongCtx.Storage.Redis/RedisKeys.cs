using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

/// <summary>
/// Names of the keys. All of a conversation share one hash tag, so that a cluster keeps them together and a script may touch them all:
/// <code>
/// lc:{tenant/id}:head      hash: epoch, owner, seq, first, lastBatch, state, live, model, created, metadata, forkedFrom, deleted
/// lc:{tenant/id}:log       stream: one entry for each event, its id is seq-0
/// lc:{tenant/id}:turns     sorted set: turns as JSON by index
/// lc:{tenant/id}:turn-ids  hash: index by the client's turn id
/// lc:{tenant/id}:segments  stream: one entry for each segment, its id is number-0
/// lc:{tenant/id}:blobs     hash: upload:length by the blob's name
/// lc:{tenant/id}:blob:upload  hash: content by number of the piece; expires, unless it is in blobs
/// lc:tenant:tenant         sorted set: ids of the tenant's conversations, in alphabetical order    (elsewhere in a cluster)
/// lc:live                  sorted set: tenant/id of conversations with a turn in progress          (elsewhere in a cluster)
/// </code>
/// Tenant and id are percent-encoded, which leaves no brace, slash or wildcard in them.
/// </summary>
internal sealed class RedisKeys(string prefix)
{
    public RedisKey Live { get; } = prefix + ":live";

    /// <summary>For SCAN: one key for each conversation, deleted ones included.</summary>
    public string HeadPattern { get; } = prefix + ":{*}:head";

    /// <summary>For SCAN: one key for each tenant.</summary>
    public string TenantPattern { get; } = prefix + ":tenant:*";

    public RedisKey Tenant(string tenant) => $"{prefix}:tenant:{Escape(tenant)}";

    public RedisKey[] Head(ConversationKey key) => [Of(key, "head")];

    public RedisKey[] Log(ConversationKey key) => [Of(key, "log")];

    public RedisKey[] Turns(ConversationKey key) => [Of(key, "turns"), Of(key, "turn-ids")];

    public RedisKey[] Segments(ConversationKey key) => [Of(key, "segments")];

    public RedisKey[] Blobs(ConversationKey key) => [Of(key, "blobs")];

    /// <summary>What one put has written.</summary>
    public RedisKey[] Upload(ConversationKey key, string upload) => [Of(key, "blob:" + upload)];

    /// <summary>All of a conversation but the content of its blobs, the head first, in the order of the diagram.</summary>
    public RedisKey[] All(ConversationKey key) => [.. Head(key), .. Log(key), .. Turns(key), .. Segments(key), .. Blobs(key)];

    /// <summary>The conversation's name in <see cref="Live"/>, and its hash tag.</summary>
    public static string Member(ConversationKey key) => $"{Escape(key.Tenant)}/{Escape(key.Id)}";

    public static ConversationKey FromMember(string member)
    {
        int slash = member.IndexOf('/', StringComparison.Ordinal);
        return new(Uri.UnescapeDataString(member[..slash]), Uri.UnescapeDataString(member[(slash + 1)..]));
    }

    public ConversationKey FromHead(string head) => FromMember(head[(prefix.Length + 2)..^"}:head".Length]);

    public string FromTenant(string key) => Uri.UnescapeDataString(key[(prefix.Length + ":tenant:".Length)..]);

    RedisKey Of(ConversationKey key, string part) => $"{prefix}:{{{Member(key)}}}:{part}";

    static string Escape(string text) => Uri.EscapeDataString(Values.Checked(text));
}
