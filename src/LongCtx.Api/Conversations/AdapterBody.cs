namespace LongCtx.Api.Conversations;

/// <summary>The temporary adapter of a conversation.</summary>
/// <param name="Enabled">Whether it learns.</param>
/// <param name="Settings">Null where none was ever asked for.</param>
/// <param name="Version">Of the weights in use; 0 is the base model.</param>
/// <param name="Digest">Names those weights; empty for the base model.</param>
/// <param name="FirstToken">Tokens from this index on are computed under it.</param>
/// <param name="TrainedTo">Tokens before this index have been learned or passed over.</param>
/// <param name="GainPercent">By how much the perplexity of the chunks below fell, each before it was learned; null before the first.</param>
/// <param name="History">The newest updates, oldest first.</param>
internal sealed record AdapterBody(
    string Object, string Conversation, bool Enabled, AdapterSettings? Settings, int Version, string Digest, long FirstToken, long TrainedTo, double? GainPercent,
    IReadOnlyList<AdapterUpdate> History)
{
    public static AdapterBody From(string conversation, AdapterInfo info) => new(
        "conversation.adapter", conversation, info.IsEnabled, info.Settings, info.Version, info.Digest, info.FirstToken, info.TrainedTo, info.GainPercent, info.History);
}
