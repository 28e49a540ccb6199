namespace LongCtx.Conversations.Local;

/// <summary>Static adapters of the decoders: each is served as a model of its own, called "model:adapter".</summary>
public sealed partial class ModelHost : IAdapterHost
{
    const int AdapterNameMax = 64;

    readonly Lock _adaptersGate = new();

    public async ValueTask<ModelDescription> LoadAdapterAsync(LoadAdapter request, CancellationToken cancellation = default)
    {
        if (request.Name.Length is 0 or > AdapterNameMax || !request.Name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-'))
            throw Refuse($"'{(request.Name.Length > AdapterNameMax ? request.Name[..AdapterNameMax] + "..." : request.Name)}' cannot name an adapter: use 1 to {AdapterNameMax} of a-z, A-Z, 0-9, '.', '_' and '-'", "name");
        LocalDecoder parent = FindDecoder(request.Model);
        if (parent.Adapter is not null) throw Refuse($"{parent.Name} is an adapter itself: load this one for {parent.Model.Name}", "model");
        string id = $"{parent.Name}:{request.Name}";
        LocalDecoder adapted = parent.With(id, await parent.Model.ReadAdapterAsync(request.Path, cancellation).ConfigureAwait(false));
        lock (_adaptersGate)
        {
            if (_decoders.Any(d => d.Name == id) || _encoders.Any(e => e.Name == id))
                throw new LongCtxException(ErrorCode.Conflict, $"there is a model {id} already: delete it first, or use another name", "name");
            _decoders = [.. _decoders, adapted];
        }

        return adapted.Describe();
    }

    public ValueTask UnloadAdapterAsync(string id, CancellationToken cancellation = default)
    {
        lock (_adaptersGate)
        {
            LocalDecoder gone = _decoders.FirstOrDefault(d => d.Adapter is not null && d.Name == id)
                ?? throw new LongCtxException(ErrorCode.NotFound, $"there is no adapter {id}", "name");
            _decoders = [.. _decoders.Where(d => d != gone)];
        }

        return ValueTask.CompletedTask;
    }
}
