using System.Globalization;
using System.Text.Json;

namespace LongCtx.Api.Json;

/// <summary>The fields that say how a reply is generated: the same for every endpoint that generates.</summary>
internal static class SamplingFields
{
    const int StopsMax = 4;

    public static string[] Stops(this JsonFields fields)
    {
        const string Expected = "a string or an array of up to 4 strings";
        if (!fields.Take("stop", out JsonElement value)) return [];
        JsonElement[] items = value.ValueKind switch
        {
            JsonValueKind.String => [value],
            JsonValueKind.Array => [.. value.EnumerateArray()],
            _ => throw ApiException.Type("stop", Expected, value.Kind()),
        };
        if (items.Length > StopsMax) throw ApiException.Value("stop", Expected, $"{items.Length} strings");
        return [.. items.Select((item, i) =>
        {
            string name = value.ValueKind == JsonValueKind.Array ? $"stop[{i}]" : "stop";
            string text = item.Text(name);
            return text.Length > 0 ? text : throw ApiException.Value(name, "a string that is not empty", "\"\"");
        })];
    }

    /// <param name="fields">Of the request.</param>
    /// <param name="newSeed">For a request that names none.</param>
    public static SamplingOptions Sampling(this JsonFields fields, Func<ulong> newSeed)
    {
        SamplingOptions sampling = new()
        {
            Temperature = fields.Number("temperature") ?? 1,
            TopP = fields.Number("top_p") ?? 1,
            TopK = fields.Integer("top_k", 0, int.MaxValue) ?? 0,
            MinP = fields.Number("min_p") ?? 0,
            PresencePenalty = fields.Number("presence_penalty") ?? 0,
            FrequencyPenalty = fields.Number("frequency_penalty") ?? 0,
            RepetitionPenalty = fields.Number("repetition_penalty") ?? 1,
            PenaltyWindow = fields.Integer("penalty_window", 0, SamplingOptions.PenaltyWindowMax) ?? SamplingOptions.PenaltyWindowMax,
            LogitBias = LogitBias(fields),
            Seed = fields.Seed("seed") ?? newSeed(),
        };
        sampling.Validate();
        return sampling;
    }

    static Dictionary<int, float>? LogitBias(JsonFields fields)
    {
        if (!fields.Take("logit_bias", out JsonElement value)) return null;
        if (value.ValueKind != JsonValueKind.Object) throw ApiException.Type("logit_bias", "an object of token ids and numbers", value.Kind());
        Dictionary<int, float> bias = [];
        foreach (JsonProperty entry in value.EnumerateObject())
        {
            if (!int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int id))
                throw ApiException.Value("logit_bias", "an object whose names are token ids", $"'{entry.Name}'");
            bias[id] = entry.Value.Number($"logit_bias.{id}");
        }
        return bias.Count > 0 ? bias : null;
    }
}
