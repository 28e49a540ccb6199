using System.Text.Json.Serialization;
using LongCtx.Api.Json;

namespace LongCtx.Api.Models;

/// <summary>GET /v1/models and /v1/models/{id}</summary>
internal sealed class ModelEndpoint(ICompletionHost host)
{
    public async Task ListAsync(HttpContext http)
    {
        ModelBody[] models = [.. (await host.ListModelsAsync(http.RequestAborted)).Select(ModelBody.From)];
        await http.Response.WriteAsJsonAsync(new ModelList("list", models), ApiJson.Instance.ModelList, cancellationToken: http.RequestAborted);
    }

    /// <summary>Ids of the owner/name form may arrive with their slash escaped, which the server leaves as it is.</summary>
    public static string IdOf(HttpContext http) => ((string?)http.Request.RouteValues["id"] ?? "").Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);

    public async Task FindAsync(HttpContext http)
    {
        string id = IdOf(http);
        IReadOnlyList<ModelDescription> models = await host.ListModelsAsync(http.RequestAborted);
        ModelDescription model = models.FirstOrDefault(m => m.Id == id) ?? throw new LongCtxException(
            ErrorCode.ModelNotFound, $"The model '{id}' is not loaded. Loaded: {string.Join(", ", models.Select(m => m.Id))}.", "model");
        await http.Response.WriteAsJsonAsync(ModelBody.From(model), ApiJson.Instance.ModelBody, cancellationToken: http.RequestAborted);
    }
}

internal sealed record ModelList(string Object, ModelBody[] Data);

/// <param name="Parent">The model that this is an adapter of; null for a model.</param>
internal sealed record ModelBody(
    string Id, string Object, long Created, string OwnedBy, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Parent, [property: JsonPropertyName("longctx")] ModelDetails LongCtx)
{
    public static ModelBody From(ModelDescription model) => new(model.Id, "model", model.Created, "longctx", model.Parent, new(
        model.Kind, model.Architecture, model.Parameters, model.Quantization, model.TrainedLength, model.Policy));
}

/// <param name="Policy">The five numbers S,W,G,C,B; empty for an encoder.</param>
internal sealed record ModelDetails(string Kind, string Architecture, long Parameters, string Quantization, int TrainedLength, string Policy);
