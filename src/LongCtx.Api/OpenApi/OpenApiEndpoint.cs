using Microsoft.AspNetCore.OpenApi;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;

namespace LongCtx.Api.OpenApi;

/// <summary>GET /openapi.json</summary>
internal sealed class OpenApiEndpoint([FromKeyedServices(OpenApiDocuments.Name)] IOpenApiDocumentProvider documents)
{
    public async Task HandleAsync(HttpContext http)
    {
        OpenApiDocument document = await documents.GetOpenApiDocumentAsync(http.RequestAborted);
        http.Response.ContentType = "application/json";
        await http.Response.WriteAsync(await document.SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1, http.RequestAborted), http.RequestAborted);
    }
}
