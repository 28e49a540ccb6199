using System.Text.Json;
using System.Text.Json.Serialization;

namespace LongCtx.Conversations.Stored;

/// <summary>First line of an export.</summary>
/// <param name="Format">Name and version.</param>
/// <param name="Id">Of the conversation that was exported.</param>
/// <param name="Events">Lines that follow.</param>
internal sealed record ExportHeader(string Format, string Model, long Created, IReadOnlyDictionary<string, string> Metadata, string Id, long Events)
{
    public const string CurrentFormat = "longctx.conversation.v1";
}

/// <summary>One event and the token ids that it adds.</summary>
internal sealed record ExportLine(int[] Tokens, JsonElement Event);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ExportHeader))]
[JsonSerializable(typeof(ExportLine))]
internal sealed partial class ExportJson : JsonSerializerContext;
