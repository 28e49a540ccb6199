using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;

namespace LongCtx.Api.Routing;

/// <summary>Puts operations at their paths: errors become answers, keys are asked for, and any other method is told which ones there are.</summary>
internal sealed class Routes(ErrorBoundary boundary, Tenants tenants)
{
    public const string Json = "application/json", AnyMediaType = "*/*";

    public void Map(IEndpointRouteBuilder endpoints, IEnumerable<Operation> operations)
    {
        foreach (IGrouping<string, Operation> path in operations.GroupBy(o => o.Path, StringComparer.Ordinal))
        {
            foreach (Operation operation in path) Map(endpoints, operation);
            string allowed = string.Join(", ", path.SelectMany(Methods));
            string named = string.Join(" or ", path.Select(o => o.Method));
            endpoints.Map(path.Key, boundary.Wrap(http => throw new ApiException(
                405, "method_not_allowed", $"{http.Request.Path} takes {named}, not {http.Request.Method}.") { Allow = allowed }));
        }
        endpoints.Map("{**path}", boundary.Wrap(http => throw new ApiException(
            404, "not_found", $"There is nothing at {http.Request.Method} {http.Request.Path}. The page is at /, the API under /v1.")));
    }

    void Map(IEndpointRouteBuilder endpoints, Operation operation)
    {
        RequestDelegate endpoint = boundary.Wrap(operation.IsOpen ? operation.Endpoint : tenants.Require(operation.Endpoint));
        IEndpointConventionBuilder mapped = endpoints.MapMethods(operation.Path, [operation.Method], endpoint);
        if (operation.Method == "GET") endpoints.MapMethods(operation.Path, ["HEAD"], endpoint);
        if (operation.Name is null) return;
        // ASP.NET describes an endpoint that has a method; a bare delegate's is not taken by itself.
        mapped.WithMetadata(operation, operation.Endpoint.Method, new ProducesResponseTypeMetadata(200, operation.Response, operation.Response is null ? [] : [Json]));
        // With any other media type routing would choose by it; what is not JSON has its own answer.
        if (operation.Request is { } request) mapped.WithMetadata(new AcceptsMetadata([AnyMediaType], request));
    }

    static string[] Methods(Operation operation) => operation.Method == "GET" ? ["GET", "HEAD"] : [operation.Method];
}
