using System.Text.Json;
using LongCtx.Api.Json;

namespace LongCtx.Api.Models;

/// <summary>/v1/adapters: static adapters while the server runs. They name directories of this machine, so they are its user's alone.</summary>
internal sealed class StaticAdapterEndpoint(ICompletionHost host, RequestBody body)
{
    IAdapterHost Adapters => (IAdapterHost)host;

    public async Task LoadAsync(HttpContext http)
    {
        LoadAdapter request;
        using (JsonDocument document = await body.ReadObjectAsync(http))
        {
            JsonFields fields = new(document.RootElement);
            request = new(fields.RequiredText("name"), fields.RequiredText("path"), fields.Text("model"));
            fields.RefuseOthers();
        }

        ModelDescription loaded = await Adapters.LoadAdapterAsync(request, http.RequestAborted);
        await http.Response.WriteAsJsonAsync(ModelBody.From(loaded), ApiJson.Instance.ModelBody, cancellationToken: http.RequestAborted);
    }

    public async Task ListAsync(HttpContext http)
    {
        ModelBody[] adapters = [.. (await host.ListModelsAsync(http.RequestAborted)).Where(m => m.Parent is not null).Select(ModelBody.From)];
        await http.Response.WriteAsJsonAsync(new ModelList("list", adapters), ApiJson.Instance.ModelList, cancellationToken: http.RequestAborted);
    }

    public async Task UnloadAsync(HttpContext http)
    {
        string id = ModelEndpoint.IdOf(http);
        await Adapters.UnloadAdapterAsync(id, http.RequestAborted);
        await http.Response.WriteAsJsonAsync(new DeletedBody(id, "model"), ApiJson.Instance.DeletedBody, cancellationToken: http.RequestAborted);
    }
}
