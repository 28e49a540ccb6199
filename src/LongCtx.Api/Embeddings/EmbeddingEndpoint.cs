using System.Buffers.Binary;
using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Embeddings;

/// <summary>POST /v1/embeddings</summary>
internal sealed class EmbeddingEndpoint(ICompletionHost host, RequestBody body, Shutdown shutdown)
{
    const int InputsMax = 2048;

    public async Task HandleAsync(HttpContext http)
    {
        EmbeddingRequest request;
        bool base64;
        using (JsonDocument document = await body.ReadObjectAsync(http)) (request, base64) = Read(document.RootElement);

        using CancellationTokenSource stop = shutdown.Link(http.RequestAborted);
        EmbeddingResult result;
        try
        {
            result = await host.EmbedAsync(Tenants.Of(http), request, stop.Token);
        }
        catch (OperationCanceledException) when (shutdown.IsOver && !http.RequestAborted.IsCancellationRequested)
        {
            throw Shutdown.Refusal();
        }
        EmbeddingItem[] data =
            [.. result.Vectors.Select((vector, i) => new EmbeddingItem("embedding", i, base64 ? Base64(vector) : vector))];
        EmbeddingUsage usage = new(result.PromptTokens, result.PromptTokens, new(result.TruncatedInputs));
        await http.Response.WriteAsJsonAsync(
            new EmbeddingList("list", data, result.Model, usage), ApiJson.Instance.EmbeddingList, cancellationToken: stop.Token);
    }

    static (EmbeddingRequest Request, bool Base64) Read(JsonElement body)
    {
        JsonFields fields = new(body);
        EmbeddingRequest request = new(fields.Text("model"), Inputs(fields));
        string format = fields.Text("encoding_format") ?? "float";
        if (format is not ("float" or "base64")) throw ApiException.Value("encoding_format", "float or base64", $"'{format}'");
        fields.WithoutEffect(JsonValueKind.String, "user");
        if (fields.Take("dimensions", out _))
            throw ApiException.Unsupported("dimensions", "the vectors have the model's own length; leave it out.");
        fields.RefuseOthers();
        return (request, format == "base64");
    }

    static string[] Inputs(JsonFields fields)
    {
        const string Expected = "a string or an array of strings";
        if (!fields.Take("input", out JsonElement value)) throw ApiException.Missing("input");
        if (value.ValueKind == JsonValueKind.String) return [Input(value, "input")];
        if (value.ValueKind != JsonValueKind.Array) throw ApiException.Type("input", Expected, value.Kind());
        int count = value.GetArrayLength();
        if (count is 0 or > InputsMax) throw ApiException.Value("input", $"an array of 1 to {InputsMax} strings", $"of {count}");
        if (value[0].ValueKind is JsonValueKind.Number or JsonValueKind.Array)
            throw ApiException.Unsupported("input", $"token ids are not implemented; send {Expected}.");
        return [.. value.EnumerateArray().Select((item, i) => Input(item, $"input[{i}]"))];
    }

    static string Input(JsonElement value, string name)
    {
        string text = value.Text(name);
        return text.Length > 0 ? text : throw ApiException.Value(name, "a string that is not empty", "\"\"");
    }

    static string Base64(float[] vector)
    {
        byte[] bytes = new byte[vector.Length * sizeof(float)];
        for (int i = 0; i < vector.Length; i++) BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(i * sizeof(float)), vector[i]);
        return Convert.ToBase64String(bytes);
    }
}
