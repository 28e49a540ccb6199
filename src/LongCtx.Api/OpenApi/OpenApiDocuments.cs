using System.Text.Json;
using LongCtx.Api.Json;
using LongCtx.Api.Routing;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;

namespace LongCtx.Api.OpenApi;

/// <summary>Makes the OpenAPI document out of the operations: ASP.NET finds them and makes the schemas, the rest is said by each operation.</summary>
internal static class OpenApiDocuments
{
    public const string Name = "longctx";

    const string KeyScheme = "api_key", ErrorSchema = nameof(ErrorEnvelope);

    public static void AddLongCtxOpenApi(this IServiceCollection services)
    {
        services.ConfigureHttpJsonOptions(json =>
        {
            json.SerializerOptions.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
            json.SerializerOptions.NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.Strict;
            json.SerializerOptions.TypeInfoResolverChain.Insert(0, ApiJson.Instance);
            json.SerializerOptions.TypeInfoResolverChain.Insert(1, ShapeJson.Default);
        });
        services.AddOpenApi(Name, options =>
        {
            options.AddSchemaTransformer(OneOfAsync);
            options.AddOperationTransformer(DescribeAsync);
            options.AddDocumentTransformer(FinishAsync);
        });
    }

    static async Task OneOfAsync(OpenApiSchema schema, OpenApiSchemaTransformerContext context, CancellationToken cancellation)
    {
        object[]? attributes = context.JsonPropertyInfo?.AttributeProvider?.GetCustomAttributes(typeof(OneOfAttribute), inherit: false);
        if (attributes is not [OneOfAttribute oneOf]) return;
        schema.OneOf = [];
        foreach (Type type in oneOf.Types) schema.OneOf.Add(await context.GetOrCreateSchemaAsync(type, null, cancellation));
    }

    static Task DescribeAsync(OpenApiOperation described, OpenApiOperationTransformerContext context, CancellationToken cancellation)
    {
        Operation operation = context.Description.ActionDescriptor.EndpointMetadata.OfType<Operation>().Single();
        described.OperationId = operation.Name;
        described.Summary = operation.Summary;
        described.Parameters = [.. PathParameters(operation.Path), .. operation.Parameters.Select(Describe)];
        foreach (string type in operation.RequestTypes)
        {
            described.RequestBody ??= new OpenApiRequestBody { Content = new Dictionary<string, OpenApiMediaType>(StringComparer.Ordinal) };
            described.RequestBody.Content![type] = new() { Schema = new OpenApiSchema { Type = JsonSchemaType.String } };
        }
        IOpenApiResponse ok = described.Responses!["200"];
        foreach (string type in operation.ResponseTypes) ok.Content![type] = new() { Schema = new OpenApiSchema { Type = JsonSchemaType.String } };
        described.Responses["default"] = new OpenApiResponse
        {
            Description = "OpenAI's error object.",
            Content = new Dictionary<string, OpenApiMediaType>(StringComparer.Ordinal) { ["application/json"] = new() { Schema = new OpenApiSchemaReference(ErrorSchema, context.Document) } },
        };
        if (!operation.IsOpen) described.Security = [new() { [new OpenApiSecuritySchemeReference(KeyScheme, context.Document)] = [] }];
        return Task.CompletedTask;
    }

    static async Task FinishAsync(OpenApiDocument document, OpenApiDocumentTransformerContext context, CancellationToken cancellation)
    {
        document.Info = new()
        {
            Title = "LongCtx",
            Version = typeof(OpenApiDocuments).Assembly.GetName().Version!.ToString(3),
            Description = "Conversations with language models that never end, in the shapes of OpenAI's API.",
        };
        document.Servers = [];
        document.Tags = null;
        document.AddComponent(ErrorSchema, await context.GetOrCreateSchemaAsync(typeof(ErrorEnvelope), null, cancellation));
        document.AddComponent(KeyScheme, new OpenApiSecurityScheme
        {
            Type = SecuritySchemeType.Http,
            Scheme = "bearer",
            Description = "Asked for where the server has keys.",
        });
        foreach (OpenApiOperation operation in document.Paths.Values.SelectMany(p => p.Operations!.Values)) operation.Tags = null;
    }

    /// <summary>{id}, {item} and {**id}</summary>
    static IEnumerable<IOpenApiParameter> PathParameters(string path) =>
        from part in path.Split('/')
        where part.StartsWith('{')
        select new OpenApiParameter { Name = part.Trim('{', '}', '*'), In = ParameterLocation.Path, Required = true, Schema = new OpenApiSchema { Type = JsonSchemaType.String } };

    static IOpenApiParameter Describe(Parameter parameter) => new OpenApiParameter
    {
        Name = parameter.Name,
        In = parameter.IsHeader ? ParameterLocation.Header : ParameterLocation.Query,
        Description = parameter.Description,
        Schema = parameter.Type == typeof(string[])
            ? new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchema { Type = JsonSchemaType.String } }
            : new OpenApiSchema
            {
                Type = parameter.Type == typeof(bool) ? JsonSchemaType.Boolean : parameter.Type == typeof(long) ? JsonSchemaType.Integer : JsonSchemaType.String,
            },
    };
}
