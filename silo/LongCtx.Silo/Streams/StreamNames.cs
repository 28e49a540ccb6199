namespace LongCtx.Silo.Streams;

/// <summary>
/// Streams for code inside the cluster; clients outside use HTTP. Payloads are <see cref="T:byte[]"/> in MessagePack. Key: a conversation's grain key, tenant/model/id.
/// </summary>
public static class StreamNames
{
    public const string Provider = "longctx";

    /// <summary>Committed events of a conversation, as <see cref="TokenBatch"/>. A hint: batches may be lost, doubled or late, and <see cref="TokenReader"/> repairs that.</summary>
    public const string Tokens = "longctx.tokens";

    /// <summary>Text for a conversation, as <see cref="IngestBatch"/>.</summary>
    public const string Ingest = "longctx.ingest";

    /// <summary>The key of a conversation's streams.</summary>
    public static string KeyOf(string tenant, string conversation) => Grains.GrainKeys.Of(new(tenant, conversation));
}
