using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;

namespace LongCtx.Api.Routing;

/// <summary>Puts operations at their paths: errors become answers, keys are asked for, and any other method is told which ones there are.</summary>
internal sealed class Routes(ErrorBoundary boundary, Tenants tenants)
{
    public void Map(IEndpointRouteBuilder endpoints, IEnumerable<Operation> operations)
    {
        foreach (IGrouping<string, Operation> path in operations.GroupBy(o => o.Path, StringComparer.Ordinal))
        {
            foreach (Operation operation in path)
                endpoints.MapMethods(path.Key, Methods(operation), boundary.Wrap(operation.IsOpen ? operation.Endpoint : tenants.Require(operation.Endpoint)));
            string allowed = string.Join(", ", path.SelectMany(Methods));
            string named = string.Join(" or ", path.Select(o => o.Method));
            endpoints.Map(path.Key, boundary.Wrap(http => throw new ApiException(
                405, "method_not_allowed", $"{http.Request.Path} takes {named}, not {http.Request.Method}.") { Allow = allowed }));
        }
        endpoints.Map("{**path}", boundary.Wrap(http => throw new ApiException(
            404, "not_found", $"There is nothing at {http.Request.Method} {http.Request.Path}. The page is at /, the API under /v1.")));
    }

    static string[] Methods(Operation operation) => operation.Method == "GET" ? ["GET", "HEAD"] : [operation.Method];
}
