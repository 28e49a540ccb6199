using System.Text.Json;
using LongCtx.Api.Items;
using LongCtx.Api.Json;

namespace LongCtx.Api.Responses;

/// <summary>Reads the body of POST /v1/responses: every field is honoured, known to have no effect, or refused by name.</summary>
internal static class ResponseRequestReader
{
    /// <param name="body">The request.</param>
    /// <param name="newSeed">For a request that names none.</param>
    public static ResponseCall Read(JsonElement body, Func<ulong> newSeed)
    {
        JsonFields fields = new(body);
        ResponseCall call = new(fields.Text("model"), Conversation(fields), fields.Text("previous_response_id"), Input(fields), fields.Text("instructions"), new()
        {
            MaxTokens = fields.Integer("max_output_tokens", 1, int.MaxValue),
            Stop = fields.Stops(),
            Sampling = fields.Sampling(newSeed),
            Metadata = fields.Metadata(),
        })
        {
            Stream = fields.Flag("stream") ?? false,
            Background = fields.Flag("background") ?? false,
            Store = fields.Flag("store") ?? true,
            Wait = fields.Flag("wait") ?? false,
        };
        if (fields.Object("stream_options") is { } stream)
        {
            if (!call.Stream) throw new ApiException(400, "invalid_value", "'stream_options' is only for requests with 'stream': true.", "stream_options");
            stream.OnlyNeutral("include_obfuscation", "false", value => value.ValueKind == JsonValueKind.False);
            stream.RefuseOthers();
        }
        TextFormat(fields);
        FieldsWithoutEffect(fields);
        FieldsNotImplemented(fields);
        fields.RefuseOthers();
        CheckTogether(call);
        return call;
    }

    static string? Conversation(JsonFields fields)
    {
        if (!fields.Take("conversation", out JsonElement value)) return null;
        if (value.ValueKind == JsonValueKind.String) return value.Text("conversation");
        if (value.ValueKind != JsonValueKind.Object) throw ApiException.Type("conversation", "an id or an object with an id", value.Kind());
        JsonFields reference = new(value, "conversation");
        string id = reference.RequiredText("id");
        reference.RefuseOthers();
        return id;
    }

    static IReadOnlyList<ChatMessage> Input(JsonFields fields)
    {
        if (!fields.Take("input", out JsonElement value)) return [];
        return value.ValueKind switch
        {
            JsonValueKind.String => [new("user", value.Text("input"))],
            JsonValueKind.Array => ItemReader.Read(value, "input"),
            _ => throw ApiException.Type("input", "a string or an array of items", value.Kind()),
        };
    }

    static void TextFormat(JsonFields fields)
    {
        if (fields.Object("text") is not { } text) return;
        text.OnlyNeutral("format", "{\"type\":\"text\"}",
            value => value.ValueKind == JsonValueKind.Object && value.TryGetProperty("type", out JsonElement type) && type.Is("text"));
        text.NotImplemented("verbosity");
        text.RefuseOthers();
    }

    static void FieldsWithoutEffect(JsonFields fields)
    {
        fields.WithoutEffect(JsonValueKind.String, "user", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention");
        fields.WithoutEffect(JsonValueKind.True, "parallel_tool_calls");
    }

    static void FieldsNotImplemented(JsonFields fields)
    {
        fields.OnlyNeutral("truncation", "\"disabled\": the server's policy says what leaves the window", value => value.Is("disabled"));
        fields.OnlyNeutral("tool_choice", "\"none\" and \"auto\"", value => value.Is("none") || value.Is("auto"));
        fields.OnlyNeutral("top_logprobs", "0", value => value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int n) && n == 0);
        fields.NotImplemented("tools", "include", "reasoning", "prompt", "max_tool_calls", "context_management", "moderation");
    }

    static void CheckTogether(ResponseCall call)
    {
        if (call is { Conversation: not null, PreviousResponseId: not null })
            throw Contradiction("'previous_response_id' and 'conversation' exclude each other: a response belongs to one conversation.", "previous_response_id");
        if (call.Store) return;
        if (call.Background) throw Contradiction("'background' needs 'store': nobody could fetch the reply.", "background");
        if (call.Conversation is not null) throw Contradiction("'conversation' needs 'store': a conversation keeps what is said in it.", "store");
        if (call.PreviousResponseId is not null) throw Contradiction("'previous_response_id' needs 'store': it continues a stored conversation.", "store");
        if (call.Input.Count == 0) throw ApiException.Missing("input");
    }

    static ApiException Contradiction(string message, string parameter) => new(400, "invalid_value", message, parameter);
}
