using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Chat;

/// <summary>Reads the body of a chat completion: every field is honoured, known to have no effect, or refused by name.</summary>
internal sealed class ChatRequestReader(ApiOptions options)
{
    const int TopLogprobsMax = 20;

    public ChatCall Read(JsonElement body)
    {
        JsonFields fields = new(body);
        bool stream = fields.Flag("stream") ?? false;
        (bool usage, bool longCtx) = StreamOptions(fields, stream);
        CompletionRequest request = new()
        {
            Model = fields.Text("model"),
            Messages = ChatMessages.Read(fields),
            MaxTokens = MaxTokens(fields),
            Stop = fields.Stops(),
            Sampling = fields.Sampling(options.NewSeed),
            TopLogprobs = TopLogprobs(fields),
        };
        FieldsWithoutEffect(fields);
        FieldsNotImplemented(fields);
        fields.RefuseOthers();
        return new(request, stream, usage, longCtx);
    }

    static (bool Usage, bool LongCtx) StreamOptions(JsonFields fields, bool stream)
    {
        if (fields.Object("stream_options") is not { } inner) return (false, false);
        if (!stream) throw new ApiException(400, "invalid_value", "'stream_options' is only for requests with 'stream': true.", "stream_options");
        bool usage = inner.Flag("include_usage") ?? false;
        bool longCtx = inner.Flag("include_longctx") ?? false;
        inner.OnlyNeutral("include_obfuscation", "false", value => value.ValueKind == JsonValueKind.False);
        inner.RefuseOthers();
        return (usage, longCtx);
    }

    static int? MaxTokens(JsonFields fields)
    {
        int? current = fields.Integer("max_completion_tokens", 1, int.MaxValue);
        int? older = fields.Integer("max_tokens", 1, int.MaxValue);
        if (current is not null && older is not null && current != older)
            throw new ApiException(400, "invalid_value", "'max_tokens' and 'max_completion_tokens' differ; send one of them.", "max_tokens");
        return current ?? older;
    }

    static int? TopLogprobs(JsonFields fields)
    {
        bool report = fields.Flag("logprobs") ?? false;
        int? top = fields.Integer("top_logprobs", 0, TopLogprobsMax);
        if (top is not null && !report)
            throw new ApiException(400, "invalid_value", "'top_logprobs' needs 'logprobs': true.", "top_logprobs");
        return report ? top ?? 0 : null;
    }

    static void FieldsWithoutEffect(JsonFields fields)
    {
        fields.WithoutEffect(JsonValueKind.String, "user", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention");
        fields.WithoutEffect(JsonValueKind.Object, "metadata", "prediction");
        fields.WithoutEffect(JsonValueKind.True, "parallel_tool_calls");
    }

    static void FieldsNotImplemented(JsonFields fields)
    {
        fields.OnlyNeutral("n", "1", value => value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int n) && n == 1);
        fields.OnlyNeutral("store", "false", value => value.ValueKind == JsonValueKind.False);
        fields.OnlyNeutral("response_format", "{\"type\":\"text\"}",
            value => value.ValueKind == JsonValueKind.Object && value.TryGetProperty("type", out JsonElement type) && type.Is("text"));
        fields.OnlyNeutral("modalities", "[\"text\"]",
            value => value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.Is("text")));
        fields.OnlyNeutral("tool_choice", "\"none\" and \"auto\"", value => value.Is("none") || value.Is("auto"));
        fields.OnlyNeutral("function_call", "\"none\" and \"auto\"", value => value.Is("none") || value.Is("auto"));
        fields.NotImplemented("tools", "functions", "audio", "reasoning_effort", "verbosity", "web_search_options", "moderation");
    }
}
