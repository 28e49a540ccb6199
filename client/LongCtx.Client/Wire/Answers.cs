using System.Text.Json.Serialization;

namespace LongCtx.Client.Wire;

internal sealed record ErrorAnswer(ErrorDetails? Error);

internal sealed record ErrorDetails(string? Message, string? Param, string? Code);

/// <summary>What a stream of events tells besides events; the fields that are there depend on the name it comes under.</summary>
internal sealed record StreamNotice(string? Conversation, ErrorDetails? Error, long? Head, long? First, string? Kind);

internal sealed record ConversationAnswer(
    string Id, long CreatedAt, IReadOnlyDictionary<string, string>? Metadata, [property: JsonPropertyName("longctx")] ConversationDetails LongCtx)
{
    const long MillisecondsPerSecond = 1000;

    public ConversationInfo ToInfo() => new(
        Id, LongCtx.Model, CreatedAt * MillisecondsPerSecond, Metadata ?? new Dictionary<string, string>(), LongCtx.Seq, LongCtx.FirstSeq, LongCtx.Turns, LongCtx.Tokens)
    {
        LiveTurn = LongCtx.LiveTurn, ForkedFrom = LongCtx.ForkedFrom, Policy = LongCtx.Policy,
    };
}

internal sealed record ConversationDetails(string Model, string? Policy, long Seq, long FirstSeq, int Turns, int LiveTurn, long Tokens, string? ForkedFrom);

internal sealed record ConversationList(IReadOnlyList<ConversationAnswer> Data, string? LastId, bool HasMore);

internal sealed record AdapterAnswer(
    bool Enabled, AdapterSettings? Settings, int Version, string Digest, long FirstToken, long TrainedTo, double? GainPercent, IReadOnlyList<AdapterUpdate> History)
{
    public AdapterInfo ToInfo() => new(Settings, Enabled, Version, Digest, FirstToken, TrainedTo, History) { GainPercent = GainPercent };
}

internal sealed record AppendAnswer([property: JsonPropertyName("longctx")] AppendDetails LongCtx);

internal sealed record AppendDetails(long Seq, int Turn, bool New);

internal sealed record ResponseAnswer(string Id, string Status, [property: JsonPropertyName("longctx")] ResponseDetails LongCtx);

internal sealed record ResponseDetails(int Turn, long Seq);
