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

    const string KeyScheme = "api_key";

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

    static async Task DescribeAsync(OpenApiOperation described, OpenApiOperationTransformerContext context, CancellationToken cancellation)
    {
        Operation operation = context.Description.ActionDescriptor.EndpointMetadata.OfType<Operation>().Single();
        described.OperationId = operation.Name;
        described.Summary = operation.Summary;
        described.Tags?.Clear();
        described.Parameters = [.. PathParameters(operation.Path), .. operation.Parameters.Select(Describe)];
        if (described.RequestBody?.Content?.Remove(Routes.AnyMediaType, out OpenApiMediaType? json) == true) described.RequestBody.Content[Routes.Json] = json;
        foreach (Media media in operation.RequestMedia)
        {
            described.RequestBody ??= new OpenApiRequestBody { Content = NoContent() };
            described.RequestBody.Content![media.Type] = new() { Schema = await SchemaAsync(media.Shape) };
        }
        OpenApiResponse ok = (OpenApiResponse)described.Responses!["200"];
        ok.Content ??= NoContent();
        foreach (Media media in operation.ResponseMedia) ok.Content[media.Type] = new() { Schema = await SchemaAsync(media.Shape) };
        described.Responses["default"] = new OpenApiResponse { Description = "OpenAI's error object.", Content = NoContent() };
        described.Responses["default"].Content![Routes.Json] = new() { Schema = await SchemaAsync(typeof(ErrorEnvelope)) };
        if (!operation.IsOpen) described.Security = [new() { [new OpenApiSecuritySchemeReference(KeyScheme, context.Document)] = [] }];

        async ValueTask<IOpenApiSchema> SchemaAsync(Type? shape)
        {
            if (shape is null) return new OpenApiSchema { Type = JsonSchemaType.String };
            context.Document!.AddComponent(shape.Name, await context.GetOrCreateSchemaAsync(shape, null, cancellation));
            return new OpenApiSchemaReference(shape.Name, context.Document);
        }
    }

    static Dictionary<string, OpenApiMediaType> NoContent() => new(StringComparer.Ordinal);

    static Task FinishAsync(OpenApiDocument document, OpenApiDocumentTransformerContext context, CancellationToken cancellation)
    {
        document.Info = new()
        {
            Title = "LongCtx",
            Version = typeof(OpenApiDocuments).Assembly.GetName().Version!.ToString(3),
            Description = "Conversations with language models that never end, in the shapes of OpenAI's API.",
        };
        document.Servers = [];
        document.Tags = null;
        document.AddComponent(KeyScheme, new OpenApiSecurityScheme
        {
            Type = SecuritySchemeType.Http,
            Scheme = "bearer",
            Description = "Asked for where the server has keys.",
        });
        return Task.CompletedTask;
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
